//! Random histories of three devices, each of which sees only some of what the others write.

use std::thread;

use super::{
    invariants::{Invariants, Met},
    *,
};

/// Histories of the ordinary run: some seconds.
const SHARE: u64 = 5_000;
const CAMPAIGN: u64 = 100_000;
const STEPS_MAX: usize = 60;
const NAMES: [&str; 3] = ["a", "b.txt", "c"];

#[test]
fn random_histories_converge() {
    check(SHARE);
}

/// `cargo test -p tesfs-pathtree --lib a_hundred_thousand -- --ignored --nocapture`
#[test]
#[ignore = "takes minutes"]
fn a_hundred_thousand_random_histories_converge() {
    check(CAMPAIGN);
}

#[test]
fn devices_that_hear_everything_first_never_conflict() {
    for seed in 0..500 {
        let _seed = Seed(seed);
        let rng = &mut rng(seed);
        let mut writers: Vec<Writer> = (1..=3).map(Writer::new).collect();
        let mut all: Vec<Version> = Vec::new();
        for _ in 0..STEPS_MAX {
            let writer = &mut writers[rng.random_range(0..3)];
            writer.receive(&all);
            let known = writer.written.len();
            act(writer, false, rng);
            all.extend_from_slice(&writer.written[known..]);
            let tree = writer.tree();
            let met = Invariants::of(&all).check(&tree);
            assert_eq!(met, Met::default(), "{}", tree.dump());
            assert_eq!(tree.lost, []);
        }
    }
}

/// Runs the histories of the seeds below `count` on all cores.
fn check(count: u64) {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut met = Met::default();
    thread::scope(|scope| {
        let run = |first| move || (first..count).step_by(threads).map(history).collect();
        let started: Vec<_> = (0..count).take(threads).map(|it| scope.spawn(run(it))).collect();
        for thread in started {
            let part: Vec<Met> = thread.join().expect("the seed that failed is printed above");
            part.into_iter().for_each(|one| met.add(one));
        }
    });
    println!("{count} histories: {met:#?}");
    let Met { directories_merged, files_merged, conflict_names, conflict_versions, .. } = met;
    let Met { equal_heads, kept_directories, files_back, cycles, forks_that_differ, .. } = met;
    for met in [
        directories_merged,
        files_merged,
        conflict_names,
        conflict_versions,
        equal_heads,
        kept_directories,
        files_back,
        cycles,
        forks_that_differ,
    ] {
        assert!(met > 0, "some rule was never met");
    }
}

/// Prints which history failed, when one does.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("history {} failed: call history({0}) for it alone", self.0);
        }
    }
}

fn history(seed: u64) -> Met {
    let _seed = Seed(seed);
    let rng = &mut rng(seed);
    let mut writers: Vec<Writer> = (1..=3).map(Writer::new).collect();
    let mut heard = [[0; 3]; 3];
    let mut fork = None;
    let steps = rng.random_range(8..=STEPS_MAX);
    let forks_at = rng.random_range(0..steps);
    let talks = rng.random_range(0.02..0.2);
    let directories_only = rng.random_bool(0.3);
    if directories_only {
        // Somewhere to move to, for all of them.
        for text in NAMES {
            writers[0].create(root(), &name(text), Kind::Directory);
        }
        hear_some(&mut writers, &mut heard, (1, 0), rng);
        hear_some(&mut writers, &mut heard, (2, 0), rng);
    }
    for step in 0..steps {
        let who = rng.random_range(0..3);
        if rng.random_bool(talks) {
            let to = rng.random_range(0..3);
            hear_some(&mut writers, &mut heard, (to, who), rng);
        }
        // Clocks are apart, but not by much: equal readings happen.
        writers[who].advance(step as u64 * 3 + rng.random_range(0..6));
        act(&mut writers[who], directories_only, rng);
        if step == forks_at {
            let seen = &writers[who].seen;
            fork = Some((seen.frontier(), seen.tree().dump()));
        }
    }
    let all: Vec<Version> = writers.iter().flat_map(|writer| writer.written.clone()).collect();
    let tree = all_of(all.iter().cloned()).tree();
    let dump = tree.dump();
    let mut met = Invariants::of(&all).check(&tree);
    met.versions = all.len();
    for _ in 0..2 {
        assert_eq!(deliver(&all, rng).tree().dump(), dump);
        met.deliveries += 1;
    }
    for writer in &mut writers {
        let mut rest = all.clone();
        shuffle(&mut rest, rng);
        writer.receive(&rest);
        assert_eq!(writer.tree().dump(), dump);
        met.deliveries += 1;
    }
    if let Some((frontier, before)) = fork {
        assert_eq!(writers[0].seen.within(&frontier).tree().dump(), before);
        met.forks = 1;
        met.forks_that_differ = usize::from(before != dump);
    }
    met
}

/// Delivers everything in some order, some of it twice, some of it in batches.
fn deliver(all: &[Version], rng: &mut TestRng) -> Versions {
    let mut order: Vec<Version> = all.to_vec();
    order.extend(all.iter().filter(|_| rng.random_bool(0.2)).cloned());
    shuffle(&mut order, rng);
    let mut versions = Versions::new(root());
    let mut rest = order.as_slice();
    while !rest.is_empty() {
        let batch = if rng.random_bool(0.8) { 1 } else { rng.random_range(1..=rest.len()) };
        let (now, later) = rest.split_at(batch);
        versions.extend(now.iter().cloned());
        rest = later;
    }
    versions
}

/// Lets one device hear of the next versions of another, in the order in which they were written.
fn hear_some(
    writers: &mut [Writer],
    heard: &mut [[usize; 3]; 3],
    (to, from): (usize, usize),
    rng: &mut TestRng,
) {
    let known = heard[to][from];
    let new = writers[from].written[known..].to_vec();
    if to != from && !new.is_empty() {
        // Mostly all of it; sometimes the middle of an operation is where the line breaks.
        let most = rng.random_bool(0.7);
        let mut count = if most { new.len() } else { rng.random_range(1..=new.len()) };
        // What one stamp did arrives together.
        while new.get(count).is_some_and(|next| next.stamp == new[count - 1].stamp) {
            count += 1;
        }
        heard[to][from] += count;
        writers[to].receive(&new[..count]);
    }
}

fn pick<T: Clone>(items: &[T], rng: &mut TestRng) -> Option<T> {
    (!items.is_empty()).then(|| items[rng.random_range(0..items.len())].clone())
}

/// Does something that is possible in the tree that this device sees.
fn act(writer: &mut Writer, directories_only: bool, rng: &mut TestRng) {
    let tree = writer.tree();
    let directories: Vec<&Directory> = tree.directories.values().collect();
    let into = pick(&directories, rng).expect("there is the root");
    let name = name(NAMES[rng.random_range(0..NAMES.len())]);
    let slot = (into.inodes[0], name);
    let mut children: Vec<&Child> =
        directories.iter().flat_map(|at| at.children.values()).collect();
    let is_directory = |child: &Child| matches!(child.shows, Shows::Directory(_));
    children.retain(|child| !directories_only || is_directory(child));
    let child = pick(&children, rng);
    let action = match directories_only {
        true => [0, 60, 60, 60, 80, 95][rng.random_range(0..6)],
        false => rng.random_range(0..100),
    };
    let is_free = !into.children.contains_key(&slot.1);
    match (action, child) {
        (0..12, _) if is_free => {
            writer.create(slot.0, &slot.1, Kind::Directory);
        }
        (12..28, _) if is_free => {
            let inode = writer.create(slot.0, &slot.1, Kind::File);
            if rng.random_bool(0.8) {
                writer.put(inode, &[], rng.random_range(0..4));
            }
        }
        (28..30, _) if is_free => {
            let target = Box::new([rng.random_range(b'x'..=b'y')]);
            writer.create(slot.0, &slot.1, Kind::Symlink { target });
        }
        (30..48, Some(child)) => change(writer, child, rng),
        (48..58, Some(child)) => save(writer, &directories, child, rng),
        (58..76, Some(child)) if can_rename(&tree, child, into, &slot.1) => {
            writer.rename(child, slot.0, &slot.1);
        }
        (76..88, Some(child)) => remove_all(writer, &tree, child),
        (88..92, Some(Child { shows: Shows::File(file), .. })) if is_free => {
            writer.link_inode(file.inode, slot.0, &slot.1);
        }
        (92..96, _) if is_free => writer.restore(slot.0, &slot.1),
        _ => {}
    }
}

fn change(writer: &mut Writer, child: &Child, rng: &mut TestRng) {
    let inode = match &child.shows {
        Shows::File(file) if rng.random_bool(0.8) => {
            writer.put(file.inode, &file.heads, rng.random_range(0..4));
            return;
        }
        Shows::File(File { inode, .. }) | Shows::Other { inode, .. } | Shows::Directory(inode) => {
            inode
        }
    };
    let value = rng.random_bool(0.8).then(|| Box::from([rng.random_range(b'0'..=b'9')]));
    let xattr = Attribute::Xattr { name: b"user.x"[..].into(), value: value.map(|it| it as _) };
    let values = match rng.random_range(0..3) {
        0 => vec![Attribute::Permissions(rng.random_range(0..0o777))],
        1 => vec![Attribute::Mtime(rng.random_range(0..1_000)), xattr],
        _ => vec![xattr],
    };
    writer.set(*inode, values);
}

/// As editors save: new bytes in a new inode, which is renamed over the file.
fn save(writer: &mut Writer, directories: &[&Directory], child: &Child, rng: &mut TestRng) {
    let Shows::File(_) = child.shows else { return };
    let at = directories.iter().find(|at| at.children.values().any(|other| other == child));
    let at = at.expect("the child is in a directory");
    let (shown, _) = at.children.iter().find(|(_, other)| *other == child).expect("it has a name");
    let temporary = name("tmp");
    if at.children.contains_key(&temporary) {
        return;
    }
    let inode = writer.create(at.inodes[0], &temporary, Kind::File);
    writer.put(inode, &[], rng.random_range(1..4));
    let saved = writer.tree().directories.into_values().find(|other| other.inodes == at.inodes);
    let saved = saved.and_then(|mut at| at.children.remove(&temporary));
    writer.rename(&saved.expect("it was just created"), at.inodes[0], shown);
}

fn can_rename(tree: &Tree, child: &Child, into: &Directory, name: &Name) -> bool {
    let over = into.children.get(name);
    let is_empty = |inode: &InodeId| tree.directories[inode].children.is_empty();
    let replaceable = match (&child.shows, over.map(|over| &over.shows)) {
        (_, None) => true,
        (Shows::Directory(one), Some(Shows::Directory(other))) => one != other && is_empty(other),
        (_, Some(Shows::Directory(_))) | (Shows::Directory(_), Some(_)) => false,
        // Two names of one inode: nothing happens.
        (_, Some(_)) => over.is_some_and(|over| {
            over.edges.values().all(|inode| child.edges.values().all(|other| inode != other))
        }),
    };
    let mut below = match child.shows {
        Shows::Directory(inode) => vec![inode],
        _ => vec![],
    };
    while let Some(inode) = below.pop() {
        if into.inodes[0] == inode {
            return false;
        }
        below.extend(subdirectories(tree, inode));
    }
    replaceable
}

fn subdirectories(tree: &Tree, inode: InodeId) -> impl Iterator<Item = InodeId> {
    tree.directories[&inode].children.values().filter_map(|child| match child.shows {
        Shows::Directory(inode) => Some(inode),
        _ => None,
    })
}

/// `rm -r`: what is deepest goes first.
fn remove_all(writer: &mut Writer, tree: &Tree, child: &Child) {
    if let Shows::Directory(inode) = child.shows {
        tree.directories[&inode]
            .children
            .values()
            .for_each(|child| remove_all(writer, tree, child));
    }
    writer.remove(child);
}
