//! The tree against a model small enough to be obviously right.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// What somebody can do. Directories and names are chosen by index, wrapping around, so that most
/// generated steps land on something that exists.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Create(Slot, Kind),
    Link(Slot, Slot),
    Unlink(Slot),
    RemoveDirectory(Slot),
    Rename(Slot, Slot),
    Exchange(Slot, Slot),
    /// The flag: by the writer that published last.
    Publish(Slot, bool),
    Chmod(Slot, u16),
    SetXattr(Slot, u8, Option<u8>),
    Begin,
    See,
    Pass,
    Reopen,
    /// Forks a branch off the current one, as of now or as of the numbered instant before.
    Fork(Option<u8>),
    /// Goes on with another branch.
    Switch(u8),
    /// The bytes that the numbered publish brought did not survive.
    Withdraw(u8),
}

/// A name in a directory: the number of the directory, the number of the name.
pub(super) type Slot = (u8, u8);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink,
}

/// The specification of one inode.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Spec {
    kind: Kind,
    permissions: u32,
    /// Blobs of its contents, oldest first, since the last one that was withdrawn; `None` is empty.
    contents: Vec<Option<i64>>,
    xattrs: BTreeMap<u8, u8>,
}

/// More branches in one case would only repeat each other.
const LINES_MAX: usize = 6;

/// The specification: inodes, and the edges between them.
#[derive(Clone, Default)]
pub(super) struct Model {
    inodes: BTreeMap<Ino, Spec>,
    edges: BTreeMap<(Ino, String), Ino>,
}

type Outcome<T> = Result<T, &'static str>;

impl Model {
    fn nlink(&self, ino: Ino) -> usize {
        let leads = |(_, to): &(&(Ino, String), &Ino)| **to == ino;
        self.edges.iter().filter(leads).count()
    }

    fn is_directory(&self, ino: Ino) -> bool {
        self.inodes[&ino].kind == Kind::Directory
    }

    fn children(&self, ino: Ino) -> impl Iterator<Item = (&String, Ino)> {
        self.edges.iter().filter(move |((at, _), _)| *at == ino).map(|((_, name), to)| (name, *to))
    }

    /// Live directories, oldest first.
    pub(super) fn directories(&self, root: Ino) -> Vec<Ino> {
        let live = |ino: &Ino| *ino == root || self.nlink(*ino) > 0;
        self.inodes.keys().copied().filter(|ino| self.is_directory(*ino)).filter(live).collect()
    }

    fn is_below(&self, ino: Ino, directory: Ino) -> bool {
        let mut at = Some(ino);
        while let Some(here) = at {
            if here == directory {
                return true;
            }
            at = self.edges.iter().find(|(_, to)| **to == here).map(|((above, _), _)| *above);
        }
        false
    }

    fn find(&self, place: &(Ino, String)) -> Outcome<Ino> {
        self.edges.get(place).copied().ok_or("EdgeNotFound")
    }

    fn free(&self, place: &(Ino, String)) -> Outcome<()> {
        if self.edges.contains_key(place) { Err("EdgeExists") } else { Ok(()) }
    }

    fn link(&mut self, from: &(Ino, String), to: (Ino, String)) -> Outcome<()> {
        let ino = self.find(from)?;
        if self.is_directory(ino) {
            return Err("IsADirectory");
        }
        self.free(&to)?;
        self.edges.insert(to, ino);
        Ok(())
    }

    fn unlink(&mut self, place: &(Ino, String)) -> Outcome<()> {
        let ino = self.find(place)?;
        if self.is_directory(ino) {
            return Err("IsADirectory");
        }
        self.edges.remove(place);
        Ok(())
    }

    fn remove_directory(&mut self, place: &(Ino, String)) -> Outcome<()> {
        let ino = self.find(place)?;
        if !self.is_directory(ino) {
            return Err("NotADirectory");
        }
        if self.children(ino).next().is_some() {
            return Err("DirectoryNotEmpty");
        }
        self.edges.remove(place);
        Ok(())
    }

    fn rename(&mut self, from: &(Ino, String), to: (Ino, String)) -> Outcome<()> {
        let mover = self.find(from)?;
        let is_directory = self.is_directory(mover);
        if is_directory && self.is_below(to.0, mover) {
            return Err("IntoItself");
        }
        if let Some(old) = self.edges.get(&to).copied() {
            match (is_directory, self.is_directory(old)) {
                _ if old == mover => return Ok(()),
                (true, false) => return Err("NotADirectory"),
                (false, true) => return Err("IsADirectory"),
                (true, true) if self.children(old).next().is_some() => {
                    return Err("DirectoryNotEmpty");
                }
                _ => {}
            }
        }
        self.edges.remove(from);
        self.edges.insert(to, mover);
        Ok(())
    }

    fn exchange(&mut self, from: &(Ino, String), to: &(Ino, String)) -> Outcome<()> {
        let (one, other) = (self.find(from)?, self.find(to)?);
        let below = |ino, into| self.is_directory(ino) && self.is_below(into, ino);
        if one != other && (below(one, to.0) || below(other, from.0)) {
            return Err("IntoItself");
        }
        self.edges.insert(from.clone(), other);
        self.edges.insert(to.clone(), one);
        Ok(())
    }
}

/// The name of an error's variant.
fn variant<T>(outcome: Result<T, TreeError>) -> Outcome<T> {
    outcome.map_err(|err| match err {
        TreeError::EdgeNotFound { .. } => "EdgeNotFound",
        TreeError::EdgeExists { .. } => "EdgeExists",
        TreeError::NotADirectory(_) => "NotADirectory",
        TreeError::IsADirectory(_) => "IsADirectory",
        TreeError::DirectoryNotEmpty(_) => "DirectoryNotEmpty",
        TreeError::IntoItself { .. } => "IntoItself",
        TreeError::InodeGone(_) => "InodeGone",
        TreeError::TooManyLinks(_) => "TooManyLinks",
        TreeError::XattrNotFound { .. } => "XattrNotFound",
        TreeError::XattrExists { .. } => "XattrExists",
        TreeError::Database(err) => panic!("{}", crate::Chain(&err)),
    })
}

/// A branch, what it should show, and what it showed at some instants before.
pub(super) struct Line {
    pub(super) view: View,
    pub(super) model: Model,
    pub(super) instants: Vec<(Hlc, Model)>,
}

/// The tree and its model, side by side.
pub(super) struct Pair {
    pub(super) scratch: Scratch,
    /// Of the current branch.
    pub(super) model: Model,
    pub(super) instants: Vec<(Hlc, Model)>,
    /// The other branches.
    pub(super) lines: Vec<Line>,
    /// The version that was published last, which its writer may replace.
    pub(super) own: Option<(Ino, Stamp)>,
    pub(super) blobs: i64,
}

impl Pair {
    pub(super) fn new() -> Self {
        let scratch = Scratch::new();
        let mut model = Model::default();
        model.inodes.insert(scratch.root, spec(Kind::Directory, 0o755));
        Self { scratch, model, instants: vec![], lines: vec![], own: None, blobs: 0 }
    }

    fn place(&self, (directory, name): Slot) -> (Ino, String) {
        let directories = self.model.directories(self.scratch.root);
        let names = ["a", "b", "c"];
        let directory = directories[usize::from(directory) % directories.len()];
        (directory, names[usize::from(name) % names.len()].to_owned())
    }

    /// Takes one step in both and compares what they say.
    pub(super) fn take(&mut self, step: &Step) {
        match *step {
            Step::Create(slot, kind) => self.create(slot, kind),
            Step::Link(from, to) => {
                let (from, to) = (self.place(from), self.place(to));
                let expected = self.model.link(&from, to.clone());
                let Some(ino) = self.scratch.lookup(from.0, &from.1) else {
                    return assert_eq!(expected, Err("EdgeNotFound"));
                };
                let linked = variant(self.scratch.link(ino, to.0, &to.1));
                assert_eq!(linked.map(drop), expected);
            }
            Step::Unlink(slot) => {
                let place = self.place(slot);
                let expected = self.model.unlink(&place);
                assert_eq!(variant(self.scratch.unlink(place.0, &place.1)).map(drop), expected);
            }
            Step::RemoveDirectory(slot) => {
                let place = self.place(slot);
                let expected = self.model.remove_directory(&place);
                let removed = variant(self.scratch.remove_directory(place.0, &place.1));
                assert_eq!(removed.as_ref().map(drop), expected.as_ref().map(drop));
                if let Ok(removed) = removed {
                    self.scratch.purge(removed.ino);
                }
            }
            Step::Rename(from, to) => {
                let (from, to) = (self.place(from), self.place(to));
                let expected = self.model.rename(&from, to.clone());
                let renamed = self.scratch.rename((from.0, &from.1), (to.0, &to.1));
                let renamed = variant(renamed);
                assert_eq!(renamed.as_ref().map(drop), expected.as_ref().map(drop));
                if let Ok(Renamed { replaced: Some((old, 0)), .. }) = renamed {
                    self.scratch.purge(old);
                }
            }
            Step::Exchange(from, to) => {
                let (from, to) = (self.place(from), self.place(to));
                let expected = self.model.exchange(&from, &to);
                let exchanged = self.scratch.exchange((from.0, &from.1), (to.0, &to.1));
                assert_eq!(variant(exchanged), expected);
            }
            Step::Publish(slot, by_own) => self.publish(slot, by_own),
            Step::Chmod(slot, permissions) => self.chmod(slot, permissions),
            Step::SetXattr(slot, name, value) => self.set_xattr(slot, name, value),
            Step::Begin => drop(self.scratch.begin()),
            Step::See => self.scratch.see(),
            Step::Pass => self.scratch.pass(3000),
            Step::Reopen => self.scratch.reopen(),
            Step::Fork(at) => self.fork(at),
            Step::Switch(which) => self.switch(which),
            Step::Withdraw(which) => self.withdraw(which),
        }
    }

    /// Takes steps as one operation, whose open writer is gone afterwards.
    pub(super) fn take_operation(&mut self, steps: &[Step]) {
        self.own = None;
        self.scratch.begin();
        for step in steps {
            self.take(step);
        }
        self.own = None;
    }

    /// Forks a branch; the new one is among the others.
    fn fork(&mut self, at: Option<u8>) {
        if self.lines.len() >= LINES_MAX {
            return;
        }
        let now = self.scratch.db().write(|tx| Ok::<_, TreeError>(tx.next_stamp().hlc)).unwrap();
        self.instants.push((now, self.model.clone()));
        // What one operation, or one open writer, replaces of its own is in no history.
        self.own = None;
        self.scratch.begin();
        let (at, model) = match at {
            Some(at) => {
                let (hlc, model) = &self.instants[usize::from(at) % self.instants.len()];
                (Some(*hlc), model.clone())
            }
            None => (None, self.model.clone()),
        };
        let name = format!("branch {}", self.lines.len());
        let view = self.scratch.fork(&name, at);
        let line = Line { view, model, instants: vec![] };
        self.lines.push(line);
    }

    fn switch(&mut self, which: u8) {
        if self.lines.is_empty() {
            return;
        }
        let which = usize::from(which) % self.lines.len();
        let line = &mut self.lines[which];
        std::mem::swap(&mut line.view, &mut self.scratch.view);
        std::mem::swap(&mut line.model, &mut self.model);
        std::mem::swap(&mut line.instants, &mut self.instants);
        self.own = None;
        self.scratch.begin();
    }

    fn create(&mut self, slot: Slot, kind: Kind) {
        let place = self.place(slot);
        let mode = match kind {
            Kind::File => S_IFREG,
            Kind::Directory => S_IFDIR,
            Kind::Symlink => S_IFLNK,
        };
        let symlink = (kind == Kind::Symlink).then_some(&b"there"[..]);
        let new = NewInode { symlink, ..new(mode | 0o755) };
        let created = variant(self.scratch.create(place.0, &place.1, &new));
        let expected = self.model.free(&place);
        assert_eq!(created.as_ref().map(drop), expected.as_ref().map(drop));
        let Ok(created) = created else { return };
        assert!(!self.model.inodes.contains_key(&created.ino), "a number is never given again");
        self.model.inodes.insert(created.ino, spec(kind, 0o755));
        self.model.edges.insert(place, created.ino);
    }

    /// The inode at a slot, where both say that there is one of these kinds.
    fn at(&self, slot: Slot, kinds: &[Kind]) -> Option<Ino> {
        let (parent, text) = self.place(slot);
        let found = self.scratch.lookup(parent, &text);
        assert_eq!(found, self.model.edges.get(&(parent, text)).copied());
        found.filter(|ino| kinds.contains(&self.model.inodes[ino].kind))
    }

    fn publish(&mut self, slot: Slot, by_own: bool) {
        let Some(ino) = self.at(slot, &[Kind::File]) else { return };
        self.blobs += 1;
        let own = self.own.filter(|(own, _)| by_own && *own == ino).map(|(_, version)| version);
        let current = self.scratch.stat(ino).content;
        let published = self.scratch.publish(ino, self.blobs, own);
        let contents = &mut self.model.inodes.get_mut(&ino).expect("it is there").contents;
        if let Some(dropped) = published.dropped {
            assert_eq!(own, Some(current));
            assert_eq!(contents.pop(), Some(Some(dropped.0)));
        }
        contents.push(Some(self.blobs));
        self.own = Some((ino, published.version));
    }

    fn chmod(&mut self, slot: Slot, permissions: u16) {
        let kinds = [Kind::File, Kind::Directory, Kind::Symlink];
        let Some(ino) = self.at(slot, &kinds) else { return };
        let permissions = u32::from(permissions) & 0o7777;
        let edit = AttributeEdit { permissions: Some(permissions), ..AttributeEdit::default() };
        self.scratch
            .change(|tx, view, operation| set_attributes(tx, view, operation, ino, &edit))
            .unwrap();
        self.model.inodes.get_mut(&ino).expect("it is there").permissions = permissions;
    }

    fn set_xattr(&mut self, slot: Slot, name: u8, value: Option<u8>) {
        let Some(ino) = self.at(slot, &[Kind::File, Kind::Directory]) else { return };
        let xattrs = &mut self.model.inodes.get_mut(&ino).expect("it is there").xattrs;
        let name = name % 2;
        let done = variant(self.scratch.change(|tx, view, operation| match value {
            Some(value) => {
                set_xattr(tx, view, operation, ino, (&[name], &[value]), XattrEdit::Either)
            }
            None => remove_xattr(tx, view, operation, ino, &[name]),
        }));
        let expected = match value {
            Some(value) => {
                xattrs.insert(name, value);
                Ok(())
            }
            None => xattrs.remove(&name).map(drop).ok_or("XattrNotFound"),
        };
        assert_eq!(done, expected);
    }

    /// Which names come back is the withdrawing tests' subject; here only what stays is compared.
    fn withdraw(&mut self, which: u8) {
        if self.blobs == 0 {
            return;
        }
        let blob = i64::from(which) % self.blobs + 1;
        let before = self.names();
        let withdrawn = self.scratch.withdraw(blob);
        let after = self.names();
        self.own = None;
        let mut unlinked = BTreeSet::new();
        for version in &withdrawn {
            let contents =
                &mut self.model.inodes.get_mut(&version.ino).expect("it is there").contents;
            let held = contents.iter().position(|content| *content == Some(blob));
            contents.remove(held.expect("it holds what was withdrawn"));
            if version.unlinked {
                unlinked.insert(version.ino);
                contents.clear();
                contents.push(None);
            }
        }
        let lost: BTreeSet<_> = before.difference(&after).cloned().collect();
        let expected: BTreeSet<_> =
            before.iter().filter(|(_, _, ino)| unlinked.contains(ino)).cloned().collect();
        assert_eq!(lost, expected, "who has nothing left loses every name, and nobody else one");
        for (parent, text, ino) in after.difference(&before) {
            let taken = lost.iter().find(|(at, name, _)| at == parent && name == text);
            assert!(taken.is_some(), "a name comes back where one was lost");
            assert_eq!(
                self.model.nlink(*ino),
                before.iter().filter(|(_, _, at)| at == ino).count()
            );
        }
        self.model.edges =
            after.into_iter().map(|(parent, text, ino)| ((parent, text), ino)).collect();
    }

    fn names(&self) -> BTreeSet<(Ino, String, Ino)> {
        let directories = self.model.directories(self.scratch.root);
        let listed = directories.into_iter().flat_map(|directory| {
            let listed = self.scratch.list(directory);
            listed.into_iter().map(move |(name, ino)| (directory, name, ino))
        });
        listed.collect()
    }

    /// Compares every branch and every instant.
    fn compare_all(&self) {
        self.compare(&self.scratch.view, &self.model, true);
        for (at, model) in &self.instants {
            self.compare(&self.scratch.view.at(*at), model, false);
        }
        for line in &self.lines {
            self.compare(&line.view, &line.model, true);
            for (at, model) in &line.instants {
                self.compare(&line.view.at(*at), model, false);
            }
        }
        for view in self.lines.iter().map(|line| &line.view).chain([&self.scratch.view]) {
            if view.is_plain() {
                invariants::check(self.scratch.db(), view);
            }
        }
    }

    /// Compares a whole tree, directory by directory, inode by inode.
    pub(super) fn compare(&self, view: &View, model: &Model, is_now: bool) {
        let scratch = &self.scratch;
        let db = scratch.db();
        let remembering = view.clone().remembering(db).unwrap();
        for directory in model.directories(scratch.root) {
            let expected: Vec<(String, Ino)> =
                model.children(directory).map(|(name, ino)| (name.clone(), ino)).collect();
            assert_eq!(list_of(db, view, directory), expected);
            for text in ["a", "b", "c"] {
                let expected = model.edges.get(&(directory, text.to_owned())).copied();
                for view in [view, &remembering] {
                    let found = db.read(|conn| lookup(conn, view, directory, &name(text))).unwrap();
                    assert_eq!(found.map(|inode| inode.ino), expected);
                }
            }
            let found = db.read(|conn| inode(conn, view, directory)).unwrap().expect("it is live");
            let below = model.children(directory).filter(|(_, ino)| model.is_directory(*ino));
            assert_eq!(found.nlink as usize, 2 + below.count());
        }
        for (ino, spec) in &model.inodes {
            let Some(found) = db.read(|conn| inode(conn, view, *ino)).unwrap() else {
                assert_eq!(model.nlink(*ino), 0, "only what is unlinked is ever purged");
                continue;
            };
            let names = db.read(|conn| names(conn, view, *ino)).unwrap();
            assert_eq!(names.len(), model.nlink(*ino));
            // Of what has no name, only what is there now can be opened.
            if !is_now && names.is_empty() && *ino != scratch.root {
                continue;
            }
            assert_eq!(found.mode & 0o7777, spec.permissions);
            let blob = spec.contents.last().copied().flatten();
            assert_eq!(found.blob.map(|blob| blob.0), blob);
            if spec.kind == Kind::File {
                assert_eq!(found.size, blob.unwrap_or(0).cast_unsigned() * 10);
                assert_eq!(found.nlink as usize, model.nlink(*ino));
                let versions = db.read(|conn| contents(conn, view, *ino)).unwrap();
                assert_eq!(versions[0].blob.map(|blob| blob.0), blob);
            }
            for name in 0..2 {
                let value = db.read(|conn| xattr(conn, view, *ino, &[name]));
                assert_eq!(value.unwrap(), spec.xattrs.get(&name).map(|value| vec![*value]));
            }
            let set: Vec<Vec<u8>> = spec.xattrs.keys().map(|name| vec![*name]).collect();
            assert_eq!(db.read(|conn| xattr_names(conn, view, *ino)).unwrap(), set);
        }
        let counted = db.read(|conn| stats(conn, view)).unwrap();
        let live = |directory| {
            let is_live = |ino: &&Ino| **ino == scratch.root || model.nlink(**ino) > 0;
            let of_kind = |ino: &&Ino| model.is_directory(**ino) == directory;
            model.inodes.keys().filter(is_live).filter(of_kind).count() as u64
        };
        assert_eq!((counted.directories, counted.files), (live(true), live(false)));
    }
}

fn list_of(db: &Db, view: &View, directory: Ino) -> Vec<(String, Ino)> {
    let listed = db.read(|conn| list(conn, view, directory)).unwrap();
    listed.into_iter().map(|entry| (entry.name.to_string(), entry.ino)).collect()
}

fn spec(kind: Kind, permissions: u32) -> Spec {
    Spec { kind, permissions, contents: vec![None], xattrs: BTreeMap::new() }
}

pub(super) fn arb_slot() -> impl Strategy<Value = Slot> {
    (0..4_u8, 0..3_u8)
}

pub(super) fn arb_step() -> impl Strategy<Value = Step> {
    let kind =
        prop_oneof![3 => Just(Kind::File), 2 => Just(Kind::Directory), 1 => Just(Kind::Symlink)];
    prop_oneof![
        8 => (arb_slot(), kind).prop_map(|(slot, kind)| Step::Create(slot, kind)),
        3 => (arb_slot(), arb_slot()).prop_map(|(from, to)| Step::Link(from, to)),
        3 => arb_slot().prop_map(Step::Unlink),
        2 => arb_slot().prop_map(Step::RemoveDirectory),
        6 => (arb_slot(), arb_slot()).prop_map(|(from, to)| Step::Rename(from, to)),
        2 => (arb_slot(), arb_slot()).prop_map(|(from, to)| Step::Exchange(from, to)),
        6 => (arb_slot(), any::<bool>()).prop_map(|(slot, own)| Step::Publish(slot, own)),
        1 => (arb_slot(), any::<u16>()).prop_map(|(slot, bits)| Step::Chmod(slot, bits)),
        2 => (arb_slot(), any::<u8>(), any::<Option<u8>>())
            .prop_map(|(slot, name, value)| Step::SetXattr(slot, name, value)),
        3 => Just(Step::Begin),
        1 => Just(Step::See),
        1 => Just(Step::Pass),
        1 => Just(Step::Reopen),
        2 => any::<u8>().prop_map(Step::Withdraw),
    ]
}

/// The same on several branches; bytes that did not survive are the subject of other tests.
pub(super) fn arb_branching_step() -> impl Strategy<Value = Step> {
    let at = prop_oneof![3 => Just(None), 1 => any::<u8>().prop_map(Some)];
    prop_oneof![
        30 => arb_step().prop_filter("not here", |step| !matches!(step, Step::Withdraw(_))),
        3 => at.prop_map(Step::Fork),
        5 => any::<u8>().prop_map(Step::Switch),
    ]
}

/// A database a case is slow: a quarter of what PROPTEST_CASES asks for.
pub(super) fn config() -> ProptestConfig {
    let asked = ProptestConfig::default();
    ProptestConfig { cases: asked.cases.div_ceil(4), ..asked }
}

proptest! {
    #![proptest_config(config())]
    #[test]
    fn the_tree_agrees_with_the_model(steps in prop::collection::vec(arb_step(), 1..60)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.take(step);
            pair.compare_all();
        }
    }

    #[test]
    fn branches_agree_with_models_of_their_own(
        steps in prop::collection::vec(arb_branching_step(), 1..80),
    ) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.take(step);
        }
        pair.compare_all();
    }
}
