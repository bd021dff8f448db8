//! A live mount is switched to another branch, with programs at work in it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stderr, reason = "whoever runs the tests must see what is skipped")]

mod mapping;
mod rig;
mod stress;

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _},
    time::Duration,
};

use tesfs_tests::{Mode, Node, close};

use crate::rig::{LARGE, Rig, Shell, branch_of, names, on_both, read_all, text, write};

#[test]
fn names_attributes_and_bytes_are_those_of_the_other_branch_at_once() {
    on_both(
        |rig| {
            for directory in ["d", "d/e", "moved", "gone"] {
                fs::create_dir(rig.at(directory)).unwrap();
            }
            for (file, len) in [("small", 10), ("large", LARGE), ("d/e/deep", 20), ("same", LARGE)]
            {
                write(&rig.at(file), &text("one", len));
            }
            write(&rig.at("moved/in"), b"moved along");
            write(&rig.at("gone/in"), b"goes along");
            rig.ok(&["branch", "create", "try"]);
            for (file, len) in [("small", 12), ("large", LARGE + 5), ("d/e/deep", 0), ("new", 7)] {
                write(&rig.at(file), &text("two", len));
            }
            fs::rename(rig.at("moved"), rig.at("d/there")).unwrap();
            fs::remove_dir_all(rig.at("gone")).unwrap();
            fs::set_permissions(rig.at("same"), fs::Permissions::from_mode(0o600)).unwrap();
            fs::hard_link(rig.at("same"), rig.at("d/same")).unwrap();
            let ino = |path: &str| fs::metadata(rig.at(path)).unwrap().ino();
            let (small, same) = (ino("small"), ino("same"));
            for _ in 0..3 {
                // Everything is in the kernel's caches by now, also what is not there.
                let meta = |path: &str| fs::metadata(rig.at(path)).unwrap();
                rig.shows("small", Some(&text("two", 12)));
                rig.shows("gone/in", None);
                rig.shows("d/there/in", Some(b"moved along"));
                assert_eq!((meta("same").mode() & 0o777, meta("same").nlink()), (0o600, 2));
                assert_eq!(names(&rig.at("")), ["d", "large", "new", "same", "small"]);
                rig.switch("try");
                assert_eq!(meta("small").len(), 10);
                assert_eq!((meta("same").mode() & 0o777, meta("same").nlink()), (0o644, 1));
                assert_eq!(names(&rig.at("")), ["d", "gone", "large", "moved", "same", "small"]);
                assert_eq!(names(&rig.at("d")), ["e"]);
                rig.shows("small", Some(&text("one", 10)));
                rig.shows("large", Some(&text("one", LARGE)));
                rig.shows("d/e/deep", Some(&text("one", 20)));
                rig.shows("new", None);
                rig.shows("gone/in", Some(b"goes along"));
                rig.shows("moved/in", Some(b"moved along"));
                assert!(!rig.at("d/there").exists());
                assert_eq!(
                    (ino("small"), ino("same")),
                    (small, same),
                    "one inode, on two branches"
                );
                assert_eq!(names(&rig.at(".tesfs/branches")), ["main"]);
                rig.shows(".tesfs/branches/main/small", Some(&text("two", 12)));
                rig.switch("main");
                assert_eq!(meta("small").len(), 12);
                rig.shows("large", Some(&text("two", LARGE + 5)));
                rig.shows("same", Some(&text("one", LARGE)));
                assert_eq!(names(&rig.at(".tesfs/branches")), ["try"]);
            }
        },
        "names",
    );
}

#[test]
fn handles_stay_on_their_branch() {
    on_both(
        |rig| {
            for (file, len) in [("small", 10), ("large", LARGE), ("log", 4), ("doomed", LARGE)] {
                write(&rig.at(file), &text("one", len));
            }
            rig.ok(&["branch", "create", "try"]);
            let open =
                |path: &str| OpenOptions::new().read(true).write(true).open(rig.at(path)).unwrap();
            let (small, mut large) = (open("small"), open("large"));
            let mut reader = File::open(rig.at("large")).unwrap();
            let mut log = OpenOptions::new().append(true).open(rig.at("log")).unwrap();
            let mut doomed = File::open(rig.at("doomed")).unwrap();
            let created = File::create_new(rig.at("created")).unwrap();
            large.write_all_at(b"before", 0).unwrap();
            log.write_all(b"before,").unwrap();
            rig.switch("try");
            assert_eq!(branch_of(&large), "main");
            rig.shows("large", Some(&text("one", LARGE)));
            rig.shows("created", None);
            // On the other branch everything happens to the same names meanwhile.
            for (file, len) in [("small", 20), ("large", LARGE / 2), ("log", 2)] {
                write(&rig.at(file), &text("try", len));
            }
            let mut other = open("large");
            assert_eq!(branch_of(&other), "try");
            fs::remove_file(rig.at("doomed")).unwrap();
            write(&rig.at("created"), b"another one");
            // The handles do not see it, and what they write shows nowhere here.
            large.write_all_at(b"after.", 6).unwrap();
            small.write_all_at(b"after", 10).unwrap();
            created.write_all_at(b"created", 0).unwrap();
            log.write_all(b"after").unwrap();
            small.sync_all().unwrap();
            large.set_len(LARGE as u64 + 1).unwrap();
            assert_eq!(large.metadata().unwrap().len(), LARGE as u64 + 1);
            assert_eq!(fs::metadata(rig.at("large")).unwrap().len(), LARGE as u64 / 2);
            let mut expected = text("one", LARGE);
            expected[..12].copy_from_slice(b"beforeafter.");
            expected.push(0);
            assert!(read_all(&mut large) == expected, "a writer reads what it wrote");
            assert!(read_all(&mut reader) == text("one", LARGE), "a reader keeps what it opened");
            assert!(read_all(&mut doomed) == text("one", LARGE));
            other.write_all(b"OTHER").unwrap();
            for file in [small, large, log, created, other] {
                close(file).unwrap();
            }
            assert!(read_all(&mut reader) == text("one", LARGE));
            let mut others = text("try", LARGE / 2);
            others[..5].copy_from_slice(b"OTHER");
            rig.shows("large", Some(&others));
            rig.shows("small", Some(&text("try", 20)));
            rig.shows("log", Some(b"tr"));
            rig.shows("created", Some(b"another one"));
            rig.switch("main");
            rig.shows("large", Some(&expected));
            rig.shows("small", Some(b"oneoneoneoafter"));
            rig.shows("log", Some(b"oneobefore,after"));
            rig.shows("created", Some(b"created"));
            rig.shows("doomed", Some(&text("one", LARGE)));
            drop((reader, doomed));
        },
        "handles",
    );
}

#[test]
fn attributes_set_by_path_go_to_the_branch_that_shows_and_by_handle_to_its_own() {
    on_both(
        |rig| {
            for file in ["free", "read", "written"] {
                write(&rig.at(file), &text("one", LARGE));
            }
            rig.ok(&["branch", "create", "try"]);
            let reader = File::open(rig.at("read")).unwrap();
            let writer = OpenOptions::new().write(true).open(rig.at("written")).unwrap();
            rig.switch("try");
            let mode = |path: &str| fs::metadata(rig.at(path)).unwrap().mode() & 0o777;
            for file in ["free", "read", "written"] {
                fs::set_permissions(rig.at(file), fs::Permissions::from_mode(0o640)).unwrap();
                let truncated = OpenOptions::new().write(true).open(rig.at(file)).unwrap();
                truncated.set_len(7).unwrap();
                close(truncated).unwrap();
                assert_eq!((mode(file), fs::metadata(rig.at(file)).unwrap().len()), (0o640, 7));
            }
            for file in [&reader, &writer] {
                let seen = file.metadata().unwrap();
                assert_eq!((seen.mode() & 0o777, seen.len()), (0o644, LARGE as u64));
            }
            writer.set_permissions(fs::Permissions::from_mode(0o444)).unwrap();
            assert_eq!(mode("written"), 0o640);
            rig.switch("main");
            assert_eq!((mode("free"), mode("read"), mode("written")), (0o644, 0o644, 0o444));
            rig.shows("free", Some(&text("one", LARGE)));
            drop((reader, writer));
        },
        "attributes",
    );
}

#[test]
fn whoever_stands_in_a_directory_goes_on_in_it_or_is_told_that_it_is_not_there() {
    on_both(
        |rig| {
            fs::create_dir_all(rig.at("both/deep")).unwrap();
            write(&rig.at("both/deep/file"), b"one");
            rig.ok(&["branch", "create", "try"]);
            write(&rig.at("both/deep/file"), b"two");
            fs::create_dir_all(rig.at("main/deep")).unwrap();
            write(&rig.at("main/deep/file"), b"main only");
            fs::set_permissions(rig.at("both"), fs::Permissions::from_mode(0o711)).unwrap();
            let mut stays = Shell::in_directory(&rig.at("both/deep"));
            let mut goes = Shell::in_directory(&rig.at("main/deep"));
            let mut root = Shell::in_directory(&rig.at(""));
            let deep = rig.at("both/deep").display().to_string();
            for _ in 0..2 {
                assert_eq!(stays.says("cat file"), "two 0");
                assert_eq!(goes.says("cat file"), "main only 0");
                rig.switch("try");
                assert_eq!(stays.says("cat file"), "one 0");
                assert_eq!(stays.says("/bin/pwd -P"), format!("{deep} 0"));
                assert_eq!(stays.says("ls .. | head -1"), "deep 0");
                assert_eq!(stays.says("echo try > ../new"), "0");
                rig.shows("both/new", Some(b"try\n"));
                assert_eq!(root.says("cat both/deep/file"), "one 0");
                assert_eq!(root.says("ls"), "both 0");
                assert_eq!(goes.says("cat file"), "1");
                assert_eq!(goes.says("echo lost > new"), "2");
                assert_ne!(goes.says("ls -d ."), ". 0");
                rig.switch("main");
                assert_eq!(goes.says("cat file"), "main only 0");
                assert_eq!(stays.says("cat ../new"), "1");
            }
        },
        "standing",
    );
}

#[test]
fn a_listing_that_began_goes_on_where_it_began_and_a_new_one_is_of_what_shows() {
    const FILES: usize = 20_000;
    on_both(
        |rig| {
            fs::create_dir(rig.at("many")).unwrap();
            for nth in 0..FILES {
                File::create(rig.at(&format!("many/{nth:05}"))).unwrap();
            }
            rig.ok(&["branch", "create", "try"]);
            for nth in (0..FILES).step_by(2) {
                fs::remove_file(rig.at(&format!("many/{nth:05}"))).unwrap();
            }
            let is_main = |names: &[String]| {
                names.iter().map(|name| name.parse::<usize>().unwrap()).eq((1..FILES).step_by(2))
            };
            let is_try = |names: &[String]| {
                names.iter().map(|name| name.parse::<usize>().unwrap()).eq(0..FILES)
            };
            for round in 0..2 {
                // The first time nothing is cached, the second time all of it.
                let mut begun = fs::read_dir(rig.at("many")).unwrap();
                let name = |entry: std::io::Result<fs::DirEntry>| {
                    entry.unwrap().file_name().into_string().unwrap()
                };
                let mut listed: Vec<String> = begun.by_ref().take(1000).map(name).collect();
                rig.switch("try");
                assert!(is_try(&names(&rig.at("many"))), "round {round}");
                listed.extend(begun.by_ref().map(name));
                listed.sort();
                assert!(is_main(&listed), "round {round}: {} names", listed.len());
                assert!(is_try(&names(&rig.at("many"))), "round {round}");
                rig.switch("main");
                assert!(is_main(&names(&rig.at("many"))), "round {round}");
            }
        },
        "listing",
    );
}

#[test]
fn a_snapshot_and_a_time_are_shown_read_only_and_a_branch_again_after_that() {
    on_both(
        |rig| {
            write(&rig.at("file"), b"then");
            rig.ok(&["snapshot", "create", "snap"]);
            write(&rig.at("file"), b"now");
            let mut writer = OpenOptions::new().append(true).open(rig.at("file")).unwrap();
            let said = rig.ok(&["switch", "snap"]);
            assert!(said.contains("read-only; 1 open file stays on 'main'"), "{said}");
            rig.shows("file", Some(b"then"));
            let refused = fs::write(rig.at("file"), b"never").unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
            writer.write_all(b", and later").unwrap();
            close(writer).unwrap();
            rig.switch("m@main");
            rig.shows("file", Some(b"now, and later"));
            let before = rig.ok(&["switch", "0s"]);
            assert!(before.contains("read-only"), "{before}");
            assert_eq!(
                fs::write(rig.at("new"), b"").unwrap_err().raw_os_error(),
                Some(libc::EROFS)
            );
            rig.switch("main");
            write(&rig.at("new"), b"new");
        },
        "past",
    );
}

#[test]
fn commands_that_change_what_shows_are_seen_after_a_switch_as_before() {
    on_both(
        |rig| {
            write(&rig.at("file"), b"one");
            rig.ok(&["branch", "create", "try"]);
            write(&rig.at("file"), b"on main");
            let held = OpenOptions::new().write(true).open(rig.at("file")).unwrap();
            rig.switch("try");
            rig.shows("file", Some(b"one"));
            rig.shows("new", None);
            write(&rig.at("of try"), b"try");
            // A merge into what shows, and one into what does not, where a writer is at work.
            rig.ok(&["merge", "main"]);
            let seen = || (fs::read(rig.at("file")).unwrap() == b"on main").then_some(());
            assert!(tesfs_tests::eventually(Duration::from_secs(5), seen).is_some());
            rig.ok(&["merge", "try", "--into", "main"]);
            assert_eq!(branch_of(&held), "main");
            held.write_all_at(b"held", 0).unwrap();
            close(held).unwrap();
            rig.shows("file", Some(b"on main"));
            rig.switch("main");
            rig.shows("file", Some(b"heldain"));
            rig.shows("of try", Some(b"try"));
        },
        "commands",
    );
}

#[test]
fn a_folder_comes_back_on_the_branch_that_it_was_switched_to() {
    let Some(mut rig) = Rig::start(Mode::Passthrough, "remembered") else { return };
    write(&rig.at("file"), b"one");
    rig.ok(&["branch", "create", "try"]);
    write(&rig.at("file"), b"two");
    rig.switch("try");
    assert!(rig.ok(&["status"]).contains("m@try"));
    rig.node.take().unwrap().unmount().unwrap();
    rig.node = Some(Node::start(&rig.place).unwrap());
    rig.shows("file", Some(b"one"));
}

#[test]
fn a_switch_is_refused_in_words() {
    let Some(rig) = Rig::start(Mode::Passthrough, "refused") else { return };
    for branch in ["try", "other", "old"] {
        rig.ok(&["branch", "create", branch]);
    }
    rig.ok(&["branch", "abandon", "old"]);
    rig.ok(&["bucket", "create", "letters"]);
    let elsewhere = rig.dir.join("elsewhere");
    let dir = elsewhere.to_str().unwrap();
    rig.ok(&["mount", "m@other", dir, "--background"]);
    let said = rig.refused(4, &["switch", "other"]);
    assert!(said.contains(&format!("'m@other' is shown at {dir}")), "{said}");
    assert!(said.contains(&format!("tesfs umount {dir}")), "{said}");
    assert!(rig.refused(4, &["switch", "main", dir]).contains("'m' is shown at"));
    assert!(rig.refused(3, &["switch", "tyr"]).contains("did you mean 'try'?"));
    assert!(rig.refused(3, &["switch", "old"]).contains("tesfs branch restore old"));
    rig.ok(&["branch", "restore", "old"]);
    assert!(rig.refused(2, &["switch", "letters@main"]).contains("tesfs mount letters DIR"));
    assert!(rig.refused(3, &["switch", "nosuch@main"]).contains("no branch or snapshot"));
    let nowhere = rig.dir.to_str().unwrap();
    assert!(rig.refused(3, &["switch", "try", nowhere]).contains("no folder of tesfs"));
    assert!(rig.ok(&["switch", "main"]).contains("shows 'main' of 'm' already"));
    // What is still written at one folder is not shown at another.
    let writer = File::create(rig.at("written")).unwrap();
    rig.ok(&["switch", "old", dir]);
    rig.ok(&["switch", "other"]);
    assert!(rig.refused(4, &["switch", "main", dir]).contains("files are open for writing there"));
    close(writer).unwrap();
    let switched = || rig.run(&["switch", "main", dir]).status.success().then_some(());
    assert!(tesfs_tests::eventually(Duration::from_secs(5), switched).is_some());
    assert!(rig.ok(&["status", "--json"]).contains("other"));
    rig.ok(&["umount", dir]);
}
