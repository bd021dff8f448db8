use super::*;

type Table = Nodes<u32, &'static str>;

const FILE: Ino = Ino(40);
const OWN: NodeId = NodeId(40);
const READER: Thread = Thread(1);
const WRITER: Thread = Thread(2);
const OTHER: Thread = Thread(3);

fn table() -> Table {
    Nodes::new(Ino(7), Sharing::Pinned)
}

fn ask(thread: Thread, node: NodeId) -> Ask {
    let now = Instant::now();
    Ask { thread, ino: FILE, node, sight: SightId::FIRST, strayed: false, now }
}

fn read(table: &mut Table, thread: Thread, node: NodeId, version: u32) -> Seating {
    table.seat(&ask(thread, node), Content::Version(version), Some("pinned"))
}

fn write(table: &mut Table, thread: Thread, node: NodeId) -> Seating {
    table.seat(&ask(thread, node), Content::Line, None)
}

/// An open that was moved and came back to the own node.
fn stray(thread: Thread) -> Ask {
    Ask { strayed: true, ..ask(thread, OWN) }
}

fn seated(seating: Seating) -> Seat {
    match seating {
        Seating::Seated(seat) => seat,
        other => panic!("no seat: {other:?}"),
    }
}

/// Follows a moved open as the kernel does and returns where it came to.
fn follow(table: &mut Table, thread: Thread, writes: bool) -> (NodeId, Seat) {
    let lead = table.look_up(thread, FILE, Instant::now());
    match table.arrive(thread, FILE, lead.node, writes) {
        Arrival::Seated(seat, _) => (lead.node, seat),
        other => panic!("not where it was moved to: {other:?}"),
    }
}

/// A reader of version 1 at the own node and a writer at a fresh one.
fn reader_and_writer() -> (Table, Seat, (NodeId, Seat)) {
    let mut table = table();
    let reader = seated(read(&mut table, READER, OWN, 1));
    assert_eq!(write(&mut table, WRITER, OWN), Seating::Moved);
    let writer = follow(&mut table, WRITER, true);
    (table, reader, writer)
}

fn leads_to(table: &mut Table, thread: Thread) -> NodeId {
    table.look_up(thread, FILE, Instant::now()).node
}

#[test]
fn an_untouched_inode_has_its_own_number_and_keeps_its_names() {
    let mut table = table();
    let lead = table.look_up(READER, FILE, Instant::now());
    assert_eq!(lead, Lead { node: OWN, is_lasting: true, pinned: None });
    assert_eq!(table.ino(OWN), Some(FILE));
    assert!(table.families.is_empty());
}

#[test]
fn the_root_is_node_one_and_inode_one_is_another_node() {
    let table = table();
    assert_eq!(table.own(Ino(7)), NodeId::ROOT);
    assert_eq!(table.ino(NodeId::ROOT), Some(Ino(7)));
    let one = table.own(Ino(1));
    assert_ne!(one, NodeId::ROOT);
    assert_eq!(table.ino(one), Some(Ino(1)));
    assert!(!one.is_fresh());
}

#[test]
fn readers_of_one_version_share_a_node() {
    let mut table = table();
    let first = seated(read(&mut table, READER, OWN, 1));
    let second = seated(read(&mut table, OTHER, OWN, 1));
    assert_ne!(first, second);
    assert_eq!(table.pinned(FILE, OWN), Some("pinned"));
}

#[test]
fn writers_share_the_line_node() {
    let mut table = table();
    seated(write(&mut table, WRITER, OWN));
    seated(write(&mut table, OTHER, OWN));
    assert!(table.is_line(FILE, OWN));
    assert_eq!(table.pinned(FILE, OWN), None);
}

#[test]
fn a_reader_of_a_file_being_written_is_moved_to_a_node_of_its_own() {
    let mut table = table();
    seated(write(&mut table, WRITER, OWN));
    assert_eq!(read(&mut table, READER, OWN, 1), Seating::Moved);
    let (node, _) = follow(&mut table, READER, false);
    assert!(node.is_fresh());
    assert_eq!(table.ino(node), Some(FILE));
    assert_eq!(table.pinned(FILE, node), Some("pinned"));
    assert_eq!(leads_to(&mut table, OTHER), OWN, "others are led to the line");
}

#[test]
fn the_lookup_of_a_moved_open_is_not_lasting_and_only_its_thread_is_led() {
    let mut table = table();
    seated(write(&mut table, WRITER, OWN));
    assert_eq!(read(&mut table, READER, OWN, 1), Seating::Moved);
    let lead = table.look_up(READER, FILE, Instant::now());
    assert!(!lead.is_lasting);
    assert_eq!(lead.pinned, Some("pinned"));
    let again = table.look_up(READER, FILE, Instant::now());
    assert_eq!(again.node, lead.node, "the kernel asks twice");
    assert!(table.look_up(OTHER, FILE, Instant::now()).is_lasting);
}

#[test]
fn a_second_moved_reader_joins_the_first() {
    let mut table = table();
    seated(write(&mut table, WRITER, OWN));
    assert_eq!(read(&mut table, READER, OWN, 1), Seating::Moved);
    let (first, _) = follow(&mut table, READER, false);
    assert_eq!(read(&mut table, OTHER, OWN, 1), Seating::Moved);
    assert_eq!(follow(&mut table, OTHER, false).0, first);
}

#[test]
fn a_moved_reader_keeps_its_version_though_a_newer_one_is_published_on_its_way() {
    let mut table = table();
    seated(write(&mut table, WRITER, OWN));
    assert_eq!(read(&mut table, READER, OWN, 1), Seating::Moved);
    assert_eq!(table.published(FILE, SightId::FIRST, 2, Some((OWN, 0))), Notice::Nothing);
    let lead = table.look_up(READER, FILE, Instant::now());
    let arrival = table.arrive(READER, FILE, lead.node, false);
    assert!(matches!(arrival, Arrival::Seated(_, Some("pinned"))));
}

#[test]
fn a_writer_that_meets_readers_is_moved_and_names_lead_to_its_line() {
    let (mut table, _, (line, _)) = reader_and_writer();
    assert!(line.is_fresh());
    let lead = table.look_up(OTHER, FILE, Instant::now());
    assert_eq!((lead.node, lead.is_lasting), (line, false));
    assert!(table.is_line(FILE, line));
    seated(write(&mut table, OTHER, line));
}

#[test]
fn a_writer_joins_the_line_wherever_it_is() {
    let (mut table, reader, (line, _)) = reader_and_writer();
    table.leave(FILE, OWN, Some(reader));
    assert_eq!(write(&mut table, OTHER, OWN), Seating::Moved, "the own node is free by now");
    assert_eq!(follow(&mut table, OTHER, true).0, line);
}

#[test]
fn a_reader_sent_from_the_line_finds_the_node_of_its_version() {
    let (mut table, _, (line, _)) = reader_and_writer();
    assert_eq!(read(&mut table, OTHER, line, 1), Seating::Moved);
    assert_eq!(follow(&mut table, OTHER, false).0, OWN);
}

#[test]
fn names_leave_a_node_of_older_readers_at_a_publish() {
    let (mut table, reader, (line, writer)) = reader_and_writer();
    assert_eq!(table.published(FILE, SightId::FIRST, 2, Some((line, 0))), Notice::Names);
    table.leave(FILE, line, Some(writer));
    let lead = table.look_up(OTHER, FILE, Instant::now());
    assert_eq!((lead.node, lead.is_lasting), (line, true));
    assert_eq!(table.pinned(FILE, OWN), Some("pinned"), "the old reader stays where it is");
    seated(read(&mut table, OTHER, line, 2));
    table.leave(FILE, OWN, Some(reader));
    assert_eq!(leads_to(&mut table, OTHER), line, "the kernel still knows the line's node");
}

#[test]
fn names_stay_when_nobody_reads_the_old_version_any_more() {
    let (mut table, reader, (line, writer)) = reader_and_writer();
    table.leave(FILE, OWN, Some(reader));
    assert_eq!(table.published(FILE, SightId::FIRST, 2, Some((line, 0))), Notice::Node(OWN));
    table.leave(FILE, line, Some(writer));
    assert_eq!(leads_to(&mut table, OTHER), OWN);
}

#[test]
fn nothing_is_said_at_a_publish_of_a_file_that_nobody_else_uses() {
    let mut table = table();
    let writer = seated(write(&mut table, WRITER, OWN));
    assert_eq!(table.published(FILE, SightId::FIRST, 2, Some((OWN, 0))), Notice::Nothing);
    table.leave(FILE, OWN, Some(writer));
    assert_eq!(leads_to(&mut table, OTHER), OWN);
}

#[test]
fn names_stay_with_the_line_while_readers_of_it_sit_elsewhere() {
    let mut table = table();
    seated(write(&mut table, WRITER, OWN));
    assert_eq!(read(&mut table, READER, OWN, 1), Seating::Moved);
    follow(&mut table, READER, false);
    assert_eq!(table.published(FILE, SightId::FIRST, 2, Some((OWN, 0))), Notice::Nothing);
}

#[test]
fn a_version_from_elsewhere_moves_names_away_from_readers() {
    let mut table = table();
    seated(read(&mut table, READER, OWN, 1));
    assert_eq!(table.published(FILE, SightId::FIRST, 2, None), Notice::Names);
    let node = leads_to(&mut table, OTHER);
    assert!(node.is_fresh());
    seated(read(&mut table, OTHER, node, 2));
}

#[test]
fn a_version_from_elsewhere_refreshes_a_node_that_nobody_uses() {
    assert_eq!(table().published(FILE, SightId::FIRST, 2, None), Notice::Node(OWN));
}

#[test]
fn names_go_home_when_the_kernel_forgot_the_node_they_had_moved_to() {
    let (mut table, reader, (line, writer)) = reader_and_writer();
    table.published(FILE, SightId::FIRST, 2, Some((line, 0)));
    table.leave(FILE, line, Some(writer));
    table.leave(FILE, OWN, Some(reader));
    assert_eq!(table.ino(line), Some(FILE));
    table.forget(line, 1);
    assert_eq!(table.ino(line), None);
    assert_eq!(leads_to(&mut table, OTHER), OWN);
    assert!(table.families.is_empty() && table.fresh.is_empty());
}

#[test]
fn names_do_not_go_home_to_older_readers() {
    let (mut table, reader, (line, writer)) = reader_and_writer();
    table.published(FILE, SightId::FIRST, 2, Some((line, 0)));
    table.leave(FILE, line, Some(writer));
    table.forget(line, 1);
    assert_eq!(leads_to(&mut table, OTHER), line, "the own node still shows version 1");
    table.forget(line, 1);
    table.leave(FILE, OWN, Some(reader));
    assert_eq!(leads_to(&mut table, OTHER), OWN);
}

#[test]
fn a_forgotten_node_lives_on_while_a_handle_is_open() {
    let (mut table, _, (line, writer)) = reader_and_writer();
    table.forget(line, 9);
    assert_eq!(table.ino(line), Some(FILE));
    table.leave(FILE, line, Some(writer));
    assert_eq!(table.ino(line), None);
}

#[test]
fn a_seat_kept_for_a_moved_open_outlives_a_forget() {
    let mut table = table();
    seated(read(&mut table, READER, OWN, 1));
    assert_eq!(write(&mut table, WRITER, OWN), Seating::Moved);
    let lead = table.look_up(WRITER, FILE, Instant::now());
    table.forget(lead.node, 1);
    assert_eq!(follow(&mut table, WRITER, true).0, lead.node);
}

#[test]
fn an_open_that_does_not_follow_is_a_stray() {
    let mut table = table();
    seated(write(&mut table, WRITER, OWN));
    assert_eq!(read(&mut table, READER, OWN, 1), Seating::Moved);
    assert_eq!(table.arrive(READER, FILE, OWN, false), Arrival::Strayed);
    assert_eq!(table.abandoned(), ["pinned"], "the seat that was kept is given up");
    let again = Ask { strayed: true, ..ask(READER, OWN) };
    assert_eq!(table.seat(&again, Content::Version(1), Some("pinned")), Seating::Stray);
    assert_eq!(table.arrive(READER, FILE, OWN, false), Arrival::New, "it is not held against it");
}

#[test]
fn a_node_that_a_stray_is_at_is_nobody_elses() {
    let mut table = table();
    let reader = seated(read(&mut table, READER, OWN, 1));
    assert_eq!(table.seat(&stray(WRITER), Content::Line, None), Seating::Stray);
    table.leave(FILE, OWN, Some(reader));
    assert_eq!(write(&mut table, OTHER, OWN), Seating::Moved);
    follow(&mut table, OTHER, true);
    assert_eq!(read(&mut table, READER, OWN, 2), Seating::Moved);
    table.leave(FILE, OWN, None);
    seated(read(&mut table, READER, OWN, 2));
}

#[test]
fn a_line_ends_though_a_stray_stays_at_its_node() {
    let mut table = table();
    let writer = seated(write(&mut table, WRITER, OWN));
    let reader = table.seat(&stray(READER), Content::Version(1), Some("pinned"));
    assert_eq!(reader, Seating::Stray);
    table.leave(FILE, OWN, Some(writer));
    assert_eq!(table.line(FILE, SightId::FIRST), None);
    assert_eq!(write(&mut table, WRITER, OWN), Seating::Moved, "the next line is another content");
}

#[test]
fn an_unknown_thread_is_never_moved() {
    let mut table = table();
    seated(write(&mut table, WRITER, OWN));
    assert_eq!(read(&mut table, Thread(0), OWN, 1), Seating::Stray);
}

#[test]
fn a_moved_reader_that_comes_back_as_a_writer_does_not_get_the_readers_seat() {
    let mut table = table();
    seated(write(&mut table, WRITER, OWN));
    assert_eq!(read(&mut table, READER, OWN, 1), Seating::Moved);
    let node = leads_to(&mut table, READER);
    assert_eq!(table.arrive(READER, FILE, node, true), Arrival::Strayed);
}

#[test]
fn an_open_of_another_file_drops_the_move() {
    let mut table = table();
    seated(write(&mut table, WRITER, OWN));
    assert_eq!(read(&mut table, READER, OWN, 1), Seating::Moved);
    assert_eq!(table.arrive(READER, Ino(41), NodeId(41), false), Arrival::New);
    assert_eq!(table.abandoned(), ["pinned"]);
    assert_eq!(table.others(FILE, OWN), []);
}

#[test]
fn a_moved_open_that_stays_away_loses_its_seat() {
    let mut table = table();
    seated(read(&mut table, READER, OWN, 1));
    assert_eq!(write(&mut table, WRITER, OWN), Seating::Moved);
    assert!(leads_to(&mut table, OTHER).is_fresh());
    let later = Instant::now() + MOVE_MAX * 2;
    let late = Ask { now: later, ..ask(OTHER, OWN) };
    seated(table.seat(&late, Content::Version(1), Some("pinned")));
    assert_eq!(table.look_up(WRITER, FILE, later).node, OWN);
}

fn patience(table: &Table, writes: bool) -> Duration {
    table.patience(FILE, OWN, writes, Instant::now())
}

#[test]
fn an_open_waits_for_a_line_that_is_being_closed() {
    let mut table = table();
    let writer = seated(write(&mut table, WRITER, OWN));
    assert_eq!(patience(&table, false), Duration::ZERO);
    table.flushed(FILE, OWN, writer, Flush::ByOpener);
    assert_eq!(patience(&table, false), CLOSE_PATIENCE);
    assert_eq!(patience(&table, true), CLOSE_PATIENCE, "it is worth it for writers, too");
    table.wrote(FILE, OWN, writer);
    assert_eq!(patience(&table, true), Duration::ZERO, "he goes on writing");
}

#[test]
fn a_child_that_ends_does_not_close_its_parents_file() {
    let mut table = table();
    let writer = seated(write(&mut table, WRITER, OWN));
    table.flushed(FILE, OWN, writer, Flush::ByAnother);
    assert_eq!(patience(&table, false), FLUSH_PATIENCE);
}

#[test]
fn nobody_waits_for_a_line_that_one_of_its_writers_keeps_open() {
    let mut table = table();
    let writer = seated(write(&mut table, WRITER, OWN));
    seated(write(&mut table, OTHER, OWN));
    table.flushed(FILE, OWN, writer, Flush::ByOpener);
    assert_eq!(patience(&table, false), Duration::ZERO);
}

#[test]
fn whoever_was_waited_for_in_vain_is_not_waited_for_again() {
    let mut table = table();
    let writer = seated(write(&mut table, WRITER, OWN));
    table.flushed(FILE, OWN, writer, Flush::ByOpener);
    table.outstayed(FILE, OWN);
    assert_eq!(patience(&table, true), Duration::ZERO);
    table.flushed(FILE, OWN, writer, Flush::ByOpener);
    assert_eq!(patience(&table, true), CLOSE_PATIENCE, "now he may be closing it");
}

#[test]
fn a_closed_handle_is_waited_for_until_it_must_be_a_mapping() {
    let mut table = table();
    let writer = seated(write(&mut table, WRITER, OWN));
    table.closed(FILE, OWN, writer, Instant::now());
    assert_eq!(patience(&table, true), CLOSE_PATIENCE);
    let later = Instant::now() + CLOSE_PATIENCE * 2;
    assert_eq!(table.patience(FILE, OWN, true, later), Duration::ZERO);
}

#[test]
fn a_writer_waits_a_moment_for_readers_and_none_for_moved_ones() {
    let mut table = table();
    let reader = seated(read(&mut table, READER, OWN, 1));
    assert_eq!(patience(&table, true), READER_PATIENCE);
    assert_eq!(patience(&table, false), Duration::ZERO, "readers wait for none");
    table.leave(FILE, OWN, Some(reader));
    seated(write(&mut table, WRITER, OWN));
    assert_eq!(read(&mut table, READER, OWN, 1), Seating::Moved);
    let lead = table.look_up(READER, FILE, Instant::now());
    let moved = table.patience(FILE, lead.node, true, Instant::now());
    assert_eq!(moved, Duration::ZERO, "it has not come yet");
}

#[test]
fn an_open_takes_the_own_node_again_once_it_is_free() {
    let (mut table, reader, (line, _)) = reader_and_writer();
    table.leave(FILE, OWN, Some(reader));
    assert_eq!(read(&mut table, OTHER, line, 2), Seating::Moved);
    assert_eq!(follow(&mut table, OTHER, false).0, OWN);
}

#[test]
fn a_listing_gives_names_that_moved_as_names_to_be_looked_up() {
    let (mut table, _, (line, _)) = reader_and_writer();
    let lead = table.listed(FILE);
    assert_eq!(lead, Lead { node: OWN, is_lasting: false, pinned: Some("pinned") });
    assert_eq!(table.others(FILE, line), [OWN]);
    table.forget(OWN, 1);
    assert!(table.listed(Ino(41)).is_lasting);
}

#[test]
fn the_page_cache_is_kept_for_the_version_it_holds() {
    let mut table = table();
    let reader = seated(read(&mut table, READER, OWN, 1));
    assert!(!table.keeps_cache(FILE, OWN, Some(1)), "nothing is known at first");
    table.cached(FILE, OWN);
    table.leave(FILE, OWN, Some(reader));
    let reader = seated(read(&mut table, READER, OWN, 1));
    assert!(table.keeps_cache(FILE, OWN, Some(1)));
    table.leave(FILE, OWN, Some(reader));
    seated(read(&mut table, READER, OWN, 2));
    assert!(!table.keeps_cache(FILE, OWN, Some(2)));
    assert!(!table.keeps_cache(FILE, OWN, Some(2)), "not before a handle has been used");
}

#[test]
fn the_page_cache_is_kept_over_a_write_that_was_published_whole() {
    let mut table = table();
    let writer = seated(write(&mut table, WRITER, OWN));
    table.keeps_cache(FILE, OWN, None);
    table.wrote(FILE, OWN, writer);
    table.cached(FILE, OWN);
    let writes = table.writes(FILE, OWN);
    table.published(FILE, SightId::FIRST, 2, Some((OWN, writes)));
    table.leave(FILE, OWN, Some(writer));
    seated(read(&mut table, READER, OWN, 2));
    assert!(table.keeps_cache(FILE, OWN, Some(2)));
}

#[test]
fn a_write_after_the_publish_makes_the_page_cache_unknown() {
    let mut table = table();
    let writer = seated(write(&mut table, WRITER, OWN));
    table.cached(FILE, OWN);
    table.published(FILE, SightId::FIRST, 2, Some((OWN, 0)));
    table.wrote(FILE, OWN, writer);
    table.leave(FILE, OWN, Some(writer));
    seated(read(&mut table, READER, OWN, 2));
    assert!(!table.keeps_cache(FILE, OWN, Some(2)));
}

#[test]
fn bytes_that_went_past_the_page_cache_make_it_unknown() {
    let mut table = table();
    let reader = seated(read(&mut table, READER, OWN, 1));
    table.cached(FILE, OWN);
    table.bypassed(FILE, OWN);
    table.leave(FILE, OWN, Some(reader));
    seated(read(&mut table, READER, OWN, 1));
    assert!(!table.keeps_cache(FILE, OWN, Some(1)));
}

#[test]
fn a_writer_that_writes_nothing_leaves_the_page_cache_as_it_was() {
    let mut table = table();
    let reader = seated(read(&mut table, READER, OWN, 1));
    table.cached(FILE, OWN);
    table.leave(FILE, OWN, Some(reader));
    let writer = seated(write(&mut table, WRITER, OWN));
    assert!(table.keeps_cache(FILE, OWN, Some(1)));
    table.leave(FILE, OWN, Some(writer));
    seated(read(&mut table, READER, OWN, 1));
    assert!(table.keeps_cache(FILE, OWN, Some(1)));
}

#[test]
fn with_live_sharing_nothing_is_ever_moved() {
    let mut table: Table = Nodes::new(Ino(7), Sharing::Live);
    let writer = seated(write(&mut table, WRITER, OWN));
    seated(read(&mut table, READER, OWN, 1));
    table.cached(FILE, OWN);
    assert!(table.keeps_cache(FILE, OWN, Some(2)));
    assert_eq!(table.published(FILE, SightId::FIRST, 2, Some((OWN, 0))), Notice::Nothing);
    table.leave(FILE, OWN, Some(writer));
    seated(read(&mut table, READER, OWN, 2));
    assert_eq!(table.others(FILE, OWN), []);
    assert_eq!(patience(&table, true), Duration::ZERO);
}

#[test]
fn memories_of_page_caches_are_bounded_and_never_cost_a_seat() {
    let mut table = table();
    let reader = seated(read(&mut table, READER, OWN, 1));
    for number in 100..100 + 2 * REMEMBERED_MAX as u64 {
        let (ino, node) = (Ino(number), NodeId(number));
        let ask = Ask { ino, ..ask(READER, node) };
        let seat = seated(table.seat(&ask, Content::Version(1), Some("pinned")));
        table.cached(ino, node);
        table.leave(ino, node, Some(seat));
    }
    assert!(table.families.len() <= REMEMBERED_MAX);
    assert!(table.pinned(FILE, OWN).is_some());
    table.leave(FILE, OWN, Some(reader));
}
