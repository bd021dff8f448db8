use tesfs_pathtree::{
    Clock, Db, DbSettings, DeviceId,
    bucket::{self, Owner},
};

use super::*;

fn view() -> View {
    let dir = tempfile::tempdir().unwrap();
    let (path, schemas) = (dir.path().join("node.db"), [tesfs_pathtree::SCHEMA]);
    let device = DeviceId([0; 32]);
    let db = Db::open(&path, &schemas, &DbSettings::SMALL, Clock::manual(0), device).unwrap();
    let owner = Owner { uid: 0, gid: 0 };
    View::main(&db.write(|tx| bucket::create(tx, "photos", owner)).unwrap())
}

fn look(looks: &Looks, view: &View, state: u64, now_ns: i64) -> Arc<Look> {
    let shown = (view.clone(), Showing::Still);
    looks.at((view.branch, Some(Hlc(state))), shown, now_ns).unwrap()
}

fn words(text: &str) -> Name {
    Name::from_bytes(text.as_bytes()).unwrap()
}

#[test]
fn a_number_says_which_inode_of_which_look_it_is() {
    let view = view();
    let looks = Looks::new(&view);
    for state in 0..3 {
        let look = look(&looks, &view, state, 0);
        for own in [Ino(1), Ino(77), Ino((1 << INO_BITS) - 1)] {
            let (found, back) = looks.find(look.number(own).unwrap(), 0).unwrap();
            assert_eq!((found.number, back), (look.number, own));
        }
        assert!(look.number(Ino(1 << INO_BITS)).is_err());
    }
    let last = number(LOOKS_MAX - 1, Ino((1 << INO_BITS) - 1)).unwrap();
    assert_eq!(last, Ino((LOOK_BIT << 1) - 1), "the numbers behind are fresh nodes'");
    assert!(looks.find(last, 0).is_none() && looks.find(Ino(5), 0).is_none());
}

#[test]
fn looks_that_the_kernel_forgot_make_room_and_their_numbers_are_not_used_again() {
    let view = view();
    let looks = Looks::new(&view);
    let known = look(&looks, &view, 0, 0).number(Ino(9)).unwrap();
    looks.remember(known);
    looks.remember(known);
    looks.forget(known, 1);
    let mut numbers = Vec::new();
    for state in 1..20_000 {
        numbers.push(look(&looks, &view, state, state.cast_signed() * JUST_NS).number);
    }
    let kept = looks.lock().looks.len();
    assert!(kept <= KEPT_MIN, "as many as may be kept");
    assert_eq!(looks.lock().by_state.len() + 1, kept);
    assert!(looks.find(known, 0).is_some());
    assert!(numbers.is_sorted_by(|one, next| one < next));
    assert!(look(&looks, &view, 1, 0).number > numbers[numbers.len() - 1]);
    looks.forget(known, 1);
    for state in 30_000..32_000 {
        look(&looks, &view, state, state.cast_signed() * JUST_NS);
    }
    assert!(looks.find(known, 0).is_none());
    assert!(looks.find(number(REMOVED, Ino(1)).unwrap(), 0).is_some(), "that one stays");
}

#[test]
fn words_are_forgotten_when_there_are_too_many() {
    let view = view();
    let looks = Looks::new(&view);
    let one = look(&looks, &view, 1, 0);
    for nth in 0..5000 {
        looks.say(&words(&nth.to_string()), true, Arc::clone(&one), nth);
        assert!(looks.said(&words(&nth.to_string()), true, nth).is_some());
    }
    assert!(looks.lock().by_words.len() <= KEPT_MIN);
    let two = look(&looks, &view, 2, 0);
    let said = looks.say(&words("4999"), true, two, 5000);
    assert_eq!(said.number, one.number, "who came first is right");
}

#[test]
fn the_last_number_is_given_out_and_no_other_one() {
    let view = view();
    let looks = Looks::new(&view);
    looks.lock().next = LOOKS_MAX - 1;
    look(&looks, &view, 1, 0);
    let shown = (view.clone(), Showing::Still);
    let refused = looks.at((view.branch, Some(Hlc(2))), shown, 0).unwrap_err();
    assert_eq!(refused.errno(), libc::EOVERFLOW);
    look(&looks, &view, 1, 0);
}

#[test]
fn looks_that_take_the_place_of_others_have_no_number_of_theirs() {
    let view = view();
    let (one, other) = (Looks::new(&view), Looks::new(&view));
    for state in 0..3 {
        look(&one, &view, state, 0);
    }
    let old = look(&other, &view, 7, 0);
    let said = other.say(&words("yesterday"), true, Arc::clone(&old), 0);
    other.begin_behind(&one);
    assert!(other.find(said.number(Ino(1)).unwrap(), 0).is_none(), "it may be another's");
    assert!(other.said(&words("yesterday"), true, 0).is_none());
    assert!(other.find(number(REMOVED, Ino(1)).unwrap(), 0).is_some());
    assert!(look(&other, &view, 7, 0).number > look(&one, &view, 2, 0).number);
}
