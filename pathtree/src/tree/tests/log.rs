//! The log backwards, and the history of one thing.

use super::*;

/// What happened to whom, newest first: where it was, where it is, and what changed.
fn told(events: &[Event]) -> Vec<String> {
    let path = |place: &Option<Located>| match place {
        Some(place) => {
            let names: Vec<String> = place.names.iter().map(Name::to_string).collect();
            format!("/{}", names.join("/"))
        }
        None => "-".to_owned(),
    };
    let tell = |event: &Event| {
        let what = event.what;
        let bits = [
            (what.created(), "new"),
            (what.edge(), "edge"),
            (what.attributes(), "attributes"),
            (what.content(), "content"),
        ];
        let words: Vec<&str> = bits.iter().filter(|bit| bit.0).map(|bit| bit.1).collect();
        format!("{} > {}: {}", path(&event.was), path(&event.is), words.join(" "))
    };
    events.iter().map(tell).collect()
}

fn log_of(scratch: &Scratch, view: &View) -> Vec<Event> {
    let read = |conn: &rusqlite::Connection| {
        let mut log = Log::new(conn, view);
        let mut events = Vec::new();
        while let Some(logged) = log.next() {
            events.extend(log.event(logged?)?);
        }
        Ok::<_, crate::db::DbError>(events)
    };
    scratch.db().read(read).unwrap()
}

fn history_of(scratch: &Scratch, view: &View, ino: Ino) -> Vec<Event> {
    scratch.db().read(|conn| history(conn, view, ino)).unwrap()
}

fn last(scratch: &Scratch, view: &View, path: &str) -> Option<LastAt> {
    let names: Vec<Name> = path.split('/').map(name).collect();
    scratch.db().read(|conn| last_at(conn, view, &names)).unwrap()
}

#[test]
fn the_log_tells_where_things_were_when_they_changed() {
    let scratch = Scratch::new();
    let old = scratch.directory(scratch.root, "old");
    let file = scratch.written(old, "a", 1);
    scratch.begin();
    scratch.rename((scratch.root, "old"), (scratch.root, "new")).unwrap();
    scratch.publish(file, 2, None);
    scratch.begin();
    scratch.unlink(old, "a").unwrap();
    assert_eq!(
        told(&log_of(&scratch, &scratch.view)),
        [
            "/new/a > -: edge",
            "/new/a > /new/a: content",
            "/old > /new: edge",
            "- > /old/a: content",
            "- > /old: new edge attributes content",
            "- > /: new edge attributes content",
        ]
    );
    let concerned = log_of(&scratch, &scratch.view);
    assert_eq!(concerned.iter().filter(|event| event.concerns(old)).count(), 5);
}

#[test]
fn what_an_operation_did_is_told_from_before_its_first_to_after_its_last_change() {
    let scratch = Scratch::new();
    scratch.written(scratch.root, "a", 1);
    scratch.rename((scratch.root, "a"), (scratch.root, "b")).unwrap();
    let event = |conn: &rusqlite::Connection| {
        let mut log = Log::new(conn, &scratch.view);
        let newest = log.next().expect("it was renamed")?;
        let mut event = log.event(newest)?.expect("it is there");
        while let Some(older) = log.next() {
            let older = older?;
            if older.row == newest.row {
                log.extend(&mut event, older)?;
            }
        }
        Ok::<_, crate::db::DbError>(event)
    };
    let event = scratch.db().read(event).unwrap();
    assert_eq!(told(&[event]), ["- > /b: new edge attributes content"]);
}

#[test]
fn the_log_goes_on_beyond_a_batch() {
    let scratch = Scratch::new();
    for number in 0..600 {
        scratch.file(scratch.root, &number.to_string());
    }
    let events = log_of(&scratch, &scratch.view);
    assert_eq!(events.len(), 601);
    assert!(events.windows(2).all(|pair| pair[0].logged.stamp > pair[1].logged.stamp));
}

#[test]
fn the_log_of_a_branch_goes_on_with_its_parents_up_to_the_fork() {
    let mut scratch = Scratch::new();
    let file = scratch.written(scratch.root, "a", 1);
    scratch.publish(file, 2, None);
    let fork = scratch.fork("try", None);
    scratch.publish(file, 4, None);
    let main = std::mem::replace(&mut scratch.view, fork.clone());
    scratch.begin();
    scratch.publish(file, 3, None);
    scratch.rename((scratch.root, "a"), (scratch.root, "b")).unwrap();
    let expected =
        ["/a > /b: edge content", "/a > /a: content", "- > /a: new edge attributes content"];
    let events = history_of(&scratch, &fork, file);
    assert_eq!(told(&events), expected);
    let log = told(&log_of(&scratch, &fork));
    assert_eq!(log[..3], ["/a > /b: edge", "/a > /a: content", "/a > /a: content"]);
    let branches: Vec<_> = events.iter().map(|event| event.logged.branch).collect();
    let (own, parents) = (fork.branch, main.branch);
    assert_eq!(branches, [own, parents, parents]);
    assert_eq!(events.iter().map(|event| event.size).collect::<Vec<_>>(), [30, 20, 10]);
    scratch.view = main;
}

#[test]
fn the_history_of_a_file_goes_on_with_what_it_replaced() {
    let scratch = Scratch::new();
    let first = scratch.written(scratch.root, "a", 1);
    scratch.begin();
    let second = scratch.written(scratch.root, ".a.tmp", 2);
    scratch.rename((scratch.root, ".a.tmp"), (scratch.root, "a")).unwrap();
    let expected = ["- > /a: new edge attributes content", "- > /a: new edge attributes content"];
    assert_eq!(told(&history_of(&scratch, &scratch.view, second)), expected);
    let succeeds =
        |one, other| scratch.db().read(|conn| succeeds(conn, &scratch.view, one, other)).unwrap();
    assert!(succeeds(second, first) && succeeds(second, second));
    assert!(!succeeds(first, second));
}

#[test]
fn the_history_of_a_file_has_its_hard_links_and_attributes() {
    let scratch = Scratch::new();
    let file = scratch.file(scratch.root, "a");
    scratch.begin();
    scratch.link(file, scratch.root, "b").unwrap();
    let edit = AttributeEdit { permissions: Some(0o600), ..AttributeEdit::default() };
    scratch.change(|tx, view, of| set_attributes(tx, view, of, file, &edit)).unwrap();
    scratch
        .change(|tx, view, of| set_xattr(tx, view, of, file, (b"user.a", b"1"), XattrEdit::Either))
        .unwrap();
    scratch.begin();
    scratch.unlink(scratch.root, "b").unwrap();
    assert_eq!(
        told(&history_of(&scratch, &scratch.view, file)),
        [
            "/b > -: edge",
            "/a > /a: attributes",
            "- > /b: new edge",
            "- > /a: new edge attributes content",
        ]
    );
}

#[test]
fn what_had_a_path_last_is_found_below_removed_directories_too() {
    let scratch = Scratch::new();
    let top = scratch.directory(scratch.root, "d");
    let first = scratch.written(top, "a", 1);
    scratch.begin();
    scratch.unlink(top, "a").unwrap();
    scratch.begin();
    let second = scratch.written(top, "a", 2);
    assert_eq!(last(&scratch, &scratch.view, "d/a"), Some(LastAt { ino: second, gone: None }));
    scratch.begin();
    scratch.unlink(top, "a").unwrap();
    let found = last(&scratch, &scratch.view, "d/a").unwrap();
    assert_eq!(found.ino, second);
    let before = scratch.view.at(Hlc(found.gone.unwrap().0 - 1));
    assert!(scratch.db().read(|conn| lookup(conn, &before, top, &name("a"))).unwrap().is_some());
    scratch.remove_directory(scratch.root, "d").unwrap();
    assert_eq!(last(&scratch, &scratch.view, "d/a").unwrap().ino, second);
    assert_eq!(last(&scratch, &scratch.view, "d").unwrap().ino, top);
    assert_eq!(last(&scratch, &scratch.view, "d/b"), None);
    assert_eq!(last(&scratch, &before.at(first_reading(&scratch, first)), "d/a"), None);
}

/// The reading just before an inode was born.
fn first_reading(scratch: &Scratch, ino: Ino) -> Hlc {
    Hlc(scratch.stat(ino).id.0.hlc.0 - 1)
}

#[test]
fn what_a_branch_removed_of_what_it_inherited_is_found_there_and_lives_on_its_parent() {
    let mut scratch = Scratch::new();
    let file = scratch.written(scratch.root, "a", 1);
    let gone = scratch.written(scratch.root, "b", 2);
    scratch.begin();
    scratch.unlink(scratch.root, "b").unwrap();
    let fork = scratch.fork("try", None);
    let main = std::mem::replace(&mut scratch.view, fork.clone());
    scratch.begin();
    scratch.unlink(scratch.root, "a").unwrap();
    let found = last(&scratch, &fork, "a").unwrap();
    assert_eq!(found.ino, file);
    let before = fork.at(Hlc(found.gone.unwrap().0 - 1));
    assert_eq!(last(&scratch, &before, "a"), Some(LastAt { ino: file, gone: None }));
    assert_eq!(last(&scratch, &fork, "b").unwrap().ino, gone, "before the fork");
    assert_eq!(last(&scratch, &main, "a"), Some(LastAt { ino: file, gone: None }));
    scratch.view = main;
}

#[test]
fn an_operation_tells_who_did_it() {
    let scratch = Scratch::new();
    let file = scratch.file(scratch.root, "a");
    let events = history_of(&scratch, &scratch.view, file);
    let found =
        scratch.db().read(|conn| origin(conn, events[0].logged.operation)).unwrap().unwrap();
    assert_eq!((found.who.as_str(), found.what.as_str()), ("a test", "mount"));
    assert_eq!(found.device, DeviceId([7; 32]));
}
