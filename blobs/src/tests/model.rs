//! A draft against a vector of bytes.

use proptest::prelude::*;
use tesfs_pathtree::{BranchNumber, Ino};

use super::*;
use crate::{Allocate, DraftRecord};

/// Positions are around here, so that ranges touch, overlap and leave gaps, over several groups
/// and pages.
const SPAN: u64 = 70_000;

#[derive(Clone, Debug)]
enum Op {
    Write(u64, usize, u8),
    SetLen(u64),
    Allocate(Allocate, u64, u64),
    Materialize,
    /// Forgets the draft and opens it again by its record.
    Reopen,
    /// Publishes it, and goes on in a new draft over what was published.
    Publish(bool),
}

/// What the draft starts as.
#[derive(Clone, Debug)]
enum Start {
    Empty,
    OverInline(usize),
    OverSealed(usize),
    OverDraft(usize),
}

fn start() -> impl Strategy<Value = Start> {
    prop_oneof![
        Just(Start::Empty),
        (0_usize..16_384).prop_map(Start::OverInline),
        (16_385_usize..70_000).prop_map(Start::OverSealed),
        (16_385_usize..70_000).prop_map(Start::OverDraft),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let allocate = prop_oneof![
        Just(Allocate::Extend),
        Just(Allocate::KeepSize),
        Just(Allocate::PunchHole),
        Just(Allocate::ZeroRange),
        Just(Allocate::ZeroRangeKeepSize),
    ];
    prop_oneof![
        6 => (0..SPAN, 1_usize..20_000, 1_u8..).prop_map(|(at, len, byte)| Op::Write(at, len, byte)),
        3 => (0..SPAN).prop_map(Op::SetLen),
        3 => (allocate, 0..SPAN, 1..20_000_u64).prop_map(|(mode, at, len)| Op::Allocate(mode, at, len)),
        1 => Just(Op::Materialize),
        1 => Just(Op::Reopen),
        1 => any::<bool>().prop_map(Op::Publish),
    ]
}

fn index(position: u64) -> usize {
    usize::try_from(position).unwrap()
}

/// The specification.
fn apply(model: &mut Vec<u8>, op: &Op) {
    match *op {
        Op::Write(at, len, byte) => {
            let (at, end) = (index(at), index(at) + len);
            model.resize(model.len().max(end), 0);
            model[at..end].fill(byte);
        }
        Op::SetLen(len) => model.resize(index(len), 0),
        Op::Allocate(mode, at, len) => {
            let (at, end) = (index(at), index(at + len));
            if matches!(mode, Allocate::Extend | Allocate::ZeroRange) {
                model.resize(model.len().max(end), 0);
            }
            let (at, end) = (at.min(model.len()), end.min(model.len()));
            if !matches!(mode, Allocate::Extend | Allocate::KeepSize) {
                model[at..end].fill(0);
            }
        }
        Op::Materialize | Op::Reopen | Op::Publish(_) => {}
    }
}

struct Line<'a> {
    rig: &'a Rig,
    draft: Draft,
    base: Option<BlobNumber>,
}

impl<'a> Line<'a> {
    fn start(rig: &'a Rig, start: &Start) -> (Self, Vec<u8>) {
        let (base, model) = match *start {
            Start::Empty => (None, Vec::new()),
            Start::OverInline(len) => {
                let bytes = bytes(1, len);
                let number = rig.db().write(|tx| rig.store().insert_inline(tx, &bytes)).unwrap();
                (Some(number), bytes)
            }
            Start::OverSealed(len) => (Some(rig.sealed(&bytes(2, len))), bytes(2, len)),
            Start::OverDraft(len) => (Some(rig.published(&bytes(3, len))), bytes(3, len)),
        };
        let pool = rig.store().drafts();
        let draft = match base {
            Some(base) => Draft::over(pool, &rig.reader(base)).unwrap(),
            None => Draft::empty(pool).unwrap(),
        };
        (Self { rig, draft, base }, model)
    }

    fn run(mut self, op: &Op) -> Self {
        match *op {
            Op::Write(at, len, byte) => {
                assert_eq!(self.draft.write_at(at, &vec![byte; len]).unwrap(), len);
            }
            Op::SetLen(len) => self.draft.set_len(len).unwrap(),
            Op::Allocate(mode, at, len) => self.draft.allocate(mode, at, len).unwrap(),
            Op::Materialize => self.draft.materialize().unwrap(),
            Op::Reopen => self = self.reopen(),
            Op::Publish(seal) => self = self.publish(seal),
        }
        self
    }

    fn reopen(mut self) -> Self {
        self.draft.sync().unwrap();
        let record = DraftRecord {
            number: self.draft.draft_file().number(),
            ino: Ino(1),
            branch: BranchNumber(1),
            base: self.base,
            base_stamp: None,
            size_bytes: self.draft.size().unwrap(),
            layout: self.draft.layout(),
            durable: true,
            name: None,
        };
        let store = self.rig.store();
        self.rig.db().write(|tx| store.record_draft(tx, &record)).unwrap();
        drop(self.draft);
        let records = self.rig.db().read(|conn| store.draft_records(conn)).unwrap();
        let base = self.base.map(|base| self.rig.reader(base));
        let draft = Draft::reopen(store.drafts(), &records[0], base).unwrap();
        self.rig.db().write(|tx| store.forget_draft(tx, record.number)).unwrap();
        Self { draft, ..self }
    }

    fn publish(mut self, seal: bool) -> Self {
        self.draft.materialize().unwrap();
        let number = self.rig.publish(&self.draft);
        if seal {
            assert!(matches!(self.rig.seal(number), SealOutcome::Sealed { .. }));
        }
        let draft = Draft::over(self.rig.store().drafts(), &self.rig.reader(number)).unwrap();
        Self { draft, base: Some(number), ..self }
    }

    fn content(&self) -> Vec<u8> {
        let mut bytes = vec![0; index(self.draft.size().unwrap()) + 1];
        let read = self.draft.read_at(0, &mut bytes).unwrap();
        bytes.truncate(read);
        bytes
    }
}

/// Every byte that is not zero is data, and what is called a hole is zeros.
fn check_holes(draft: &Draft, model: &[u8]) {
    let mut at = 0;
    while at < model.len() as u64 {
        let data = draft.seek_data(at).unwrap().unwrap_or(model.len() as u64);
        assert!(model[index(at)..index(data)].iter().all(|&byte| byte == 0), "{at}..{data}");
        if data == model.len() as u64 {
            break;
        }
        at = draft.seek_hole(data).unwrap();
        assert!(at > data && at <= model.len() as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_draft_agrees_with_a_vector(start in start(), ops in prop::collection::vec(op(), 1..25)) {
        let rig = Rig::new();
        let (mut line, mut model) = Line::start(&rig, &start);
        for op in &ops {
            line = line.run(op);
            apply(&mut model, op);
            prop_assert!(line.content() == model, "after {:?}", op);
            check_holes(&line.draft, &model);
            let (at, len) = (model.len() / 3, model.len() / 2);
            let mut part = vec![0; len];
            let read = line.draft.read_at(at as u64, &mut part).unwrap();
            prop_assert!(part[..read] == model[at..(at + len).min(model.len())]);
        }
        line.draft.materialize().unwrap();
        prop_assert!(line.content() == model);
        let number = rig.publish(&line.draft);
        drop(line);
        prop_assert!(rig.read(number) == model);
        let hash = BlobHash::of(&model);
        let sealed = rig.seal(number);
        let is_right = matches!(sealed, SealOutcome::Sealed { hash: found, .. } if found == hash);
        prop_assert!(is_right);
        prop_assert!(rig.read(number) == model);
        prop_assert_eq!(rig.problems(VerifyDepth::Full), []);
    }
}
