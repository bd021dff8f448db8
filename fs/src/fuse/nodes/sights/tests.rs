use std::time::Instant;

use super::*;
use crate::fuse::nodes::{Arrival, Ask, Content, Lead, Notice, Seat, Seating, Sharing, Thread};

type Table = Nodes<u32, &'static str>;

const FILE: Ino = Ino(40);
const OWN: NodeId = NodeId(40);
const ONE: Thread = Thread(1);
const TWO: Thread = Thread(2);
const MAIN: SightId = SightId::FIRST;
const TRY: SightId = SightId(1);

fn table() -> Table {
    Nodes::new(Ino(7), Sharing::Pinned)
}

fn seat(table: &mut Table, thread: Thread, node: NodeId, content: Content<u32>) -> Seating {
    let sight = table.sight();
    let ask = Ask { thread, ino: FILE, node, sight, strayed: false, now: Instant::now() };
    table.seat(&ask, content, (content != Content::Line).then_some("pinned"))
}

fn seated(seating: Seating) -> Seat {
    match seating {
        Seating::Seated(seat) => seat,
        other => panic!("no seat: {other:?}"),
    }
}

fn lead(table: &mut Table) -> Lead<&'static str> {
    table.look_up(TWO, FILE, Instant::now())
}

#[test]
fn what_nobody_has_open_keeps_its_node() {
    let mut table = table();
    let reader = seated(seat(&mut table, ONE, OWN, Content::Version(1)));
    table.cached(FILE, OWN);
    table.leave(FILE, OWN, Some(reader));
    assert_eq!(table.switch(TRY), []);
    assert_eq!(lead(&mut table), Lead { node: OWN, is_lasting: true, pinned: None });
    seated(seat(&mut table, ONE, OWN, Content::Version(1)));
    assert!(table.keeps_cache(FILE, OWN, Some(1)), "the same bytes are still the page cache's");
}

#[test]
fn the_pages_of_another_version_are_not_kept() {
    let mut table = table();
    let reader = seated(seat(&mut table, ONE, OWN, Content::Version(1)));
    table.cached(FILE, OWN);
    table.leave(FILE, OWN, Some(reader));
    table.switch(TRY);
    seated(seat(&mut table, ONE, OWN, Content::Version(2)));
    assert!(!table.keeps_cache(FILE, OWN, Some(2)));
}

#[test]
fn names_of_what_is_open_lead_to_another_node() {
    for content in [Content::Version(1), Content::Line] {
        let mut table = table();
        seated(seat(&mut table, ONE, OWN, content));
        assert_eq!(table.switch(TRY), [FILE]);
        let lead = lead(&mut table);
        assert!(lead.node.is_fresh() && lead.is_lasting, "{lead:?}");
        assert_eq!(lead.pinned, None);
        assert_eq!(table.occupied_by(FILE, OWN), Some(MAIN));
        assert_eq!(table.occupied_by(FILE, lead.node), None);
        // Also one version has two nodes then: its attributes may differ.
        seated(seat(&mut table, TWO, lead.node, content));
        assert_eq!(table.occupied_by(FILE, lead.node), Some(TRY));
    }
}

#[test]
fn two_sights_have_a_line_each_and_a_switch_back_leads_to_the_first() {
    let mut table = table();
    seated(seat(&mut table, ONE, OWN, Content::Line));
    table.switch(TRY);
    let fresh = lead(&mut table).node;
    let writer = seated(seat(&mut table, TWO, fresh, Content::Line));
    assert_eq!((table.line(FILE, MAIN), table.line(FILE, TRY)), (Some(OWN), Some(fresh)));
    assert!(table.is_line(FILE, OWN) && table.is_line(FILE, fresh));
    assert_eq!(table.switch(MAIN), [FILE]);
    assert_eq!(lead(&mut table), Lead { node: OWN, is_lasting: true, pinned: None });
    seated(seat(&mut table, TWO, OWN, Content::Line));
    table.leave(FILE, fresh, Some(writer));
    assert_eq!(table.line(FILE, TRY), None);
}

#[test]
fn what_is_published_in_a_sight_that_is_not_shown_moves_no_name() {
    let mut table = table();
    seated(seat(&mut table, ONE, OWN, Content::Line));
    table.switch(TRY);
    let fresh = lead(&mut table).node;
    assert_eq!(table.published(FILE, MAIN, 2, Some((OWN, 0))), Notice::Nothing);
    assert_eq!(table.published(FILE, MAIN, 3, None), Notice::Nothing);
    assert_eq!(table.published(Ino(41), MAIN, 3, None), Notice::Nothing);
    assert_eq!(lead(&mut table).node, fresh);
    assert_eq!(table.published(FILE, TRY, 4, None), Notice::Node(fresh));
}

#[test]
fn an_open_that_was_moved_still_comes_to_its_seat_after_a_switch() {
    let mut table = table();
    seated(seat(&mut table, ONE, OWN, Content::Line));
    assert_eq!(seat(&mut table, TWO, OWN, Content::Version(1)), Seating::Moved);
    let publishes = table.publishes();
    table.switch(TRY);
    assert_ne!(table.publishes(), publishes, "whoever pinned a version has to look again");
    let Lead { node, is_lasting, pinned } = lead(&mut table);
    assert_eq!((is_lasting, pinned), (false, Some("pinned")));
    assert!(matches!(table.arrive(TWO, FILE, node, false), Arrival::Seated(_, Some("pinned"))));
    assert_eq!(table.occupied_by(FILE, node), Some(MAIN));
    assert_ne!(lead(&mut table).node, node, "the next one comes to what is shown");
}

#[test]
fn names_go_home_with_the_switch_after_the_last_handle_is_gone() {
    let mut table = table();
    let reader = seated(seat(&mut table, ONE, OWN, Content::Version(1)));
    table.switch(TRY);
    let fresh = lead(&mut table).node;
    table.leave(FILE, OWN, Some(reader));
    assert_eq!(lead(&mut table).node, fresh, "the kernel has names that lead there");
    assert_eq!(table.switch(MAIN), [FILE]);
    assert_eq!(lead(&mut table).node, OWN);
    table.forget(fresh, 2);
    assert_eq!(table.ino(fresh), None);
}

#[test]
fn a_stray_keeps_its_node_to_its_sight() {
    let mut table = table();
    let now = Instant::now();
    seated(seat(&mut table, ONE, OWN, Content::Version(1)));
    let ask = Ask { thread: TWO, ino: FILE, node: OWN, sight: MAIN, strayed: true, now };
    assert_eq!(table.seat(&ask, Content::Line, None), Seating::Stray);
    table.leave(FILE, OWN, Some(Seat(0)));
    table.switch(TRY);
    assert_eq!(table.occupied_by(FILE, OWN), Some(MAIN));
    assert_ne!(lead(&mut table).node, OWN);
}

#[test]
fn ten_thousand_switches_leave_nothing_behind() {
    let mut table = table();
    for nth in 0..10_000_u32 {
        let node = lead(&mut table).node;
        let seat = seated(seat(&mut table, ONE, node, Content::Version(nth)));
        table.switch(SightId(nth + 1));
        table.leave(FILE, node, Some(seat));
        if node.is_fresh() {
            table.forget(node, u64::MAX);
        }
    }
    assert!(table.fresh.len() <= 2, "{}", table.fresh.len());
    assert!(table.families.len() <= 1);
}
