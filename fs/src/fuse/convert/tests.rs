use tesfs_pathtree::Ino;

use super::*;

const SOMEBODY: Caller = Caller { uid: 1000, gid: 1000, pid: 1 };

#[test]
fn times_before_1970_keep_their_nanoseconds() {
    // As fuser reads { tv_sec: -2, tv_nsec: 800_000_000 }, which is 1.2 s before the epoch.
    let as_read = UNIX_EPOCH - Duration::new(2, 800_000_000);
    assert_eq!(unix_ns(as_read), -1_200_000_000);
    assert_eq!(time(-1_200_000_000), UNIX_EPOCH - Duration::new(1, 200_000_000));
}

#[test]
fn times_after_1970_keep_their_nanoseconds() {
    let some = 1_700_000_000_123_456_789;
    assert_eq!(unix_ns(time(some)), some);
    assert_eq!(unix_ns(time(0)), 0);
    assert_eq!(time_change(fuser::TimeOrNow::SpecificTime(time(some))), TimeChange::At(some));
}

#[test]
fn times_beyond_the_core_are_its_limits() {
    assert_eq!(unix_ns(UNIX_EPOCH + Duration::from_secs(1 << 40)), i64::MAX);
    assert_eq!(unix_ns(UNIX_EPOCH - Duration::from_secs(1 << 40)), i64::MIN);
}

#[test]
fn device_numbers_come_back_as_they_went() {
    for (major, minor) in [(0, 0), (8, 1), (4095, 255), (10, 229), (259, 1_048_575)] {
        let rdev = libc::makedev(major, minor);
        assert_eq!(device(kernel_device(rdev)), rdev, "{major}:{minor}");
    }
}

#[test]
fn attributes_show_the_number_they_are_asked_to() {
    let from = Attributes {
        ino: Ino(12),
        kind: FileKind::Directory,
        mode: 0o1777,
        nlink: 2,
        uid: 1,
        gid: 2,
        rdev: 0,
        size: 5,
        blocks: 1,
        atime_ns: 1,
        mtime_ns: 2,
        ctime_ns: 3,
        btime_ns: 4,
    };
    let shown = attributes(&from, 99);
    assert_eq!(shown.ino, INodeNo(99));
    assert_eq!((shown.perm, shown.kind), (0o1777, FileType::Directory));
    assert_eq!(unix_ns(shown.mtime), 2);
}

#[test]
fn an_open_without_write_access_is_for_reading_unless_it_truncates() {
    assert!(open_write(OpenFlags(libc::O_RDONLY), &SOMEBODY).is_none());
    let truncating = open_write(OpenFlags(libc::O_RDONLY | libc::O_TRUNC), &SOMEBODY);
    assert!(truncating.is_some_and(|open| open.truncate && open.kill_privileges));
    let log = open_write(OpenFlags(libc::O_WRONLY | libc::O_APPEND | libc::O_SYNC), &SOMEBODY);
    assert!(log.is_some_and(|open| open.append && open.sync && !open.read && !open.truncate));
}

#[test]
fn rename_flags_that_do_not_go_together_are_refused() {
    assert_eq!(rename_mode(RenameFlags::empty()), Ok(RenameMode::Replace));
    assert_eq!(rename_mode(RenameFlags::RENAME_NOREPLACE), Ok(RenameMode::NoReplace));
    assert_eq!(rename_mode(RenameFlags::RENAME_EXCHANGE), Ok(RenameMode::Exchange));
    let both = RenameFlags::RENAME_NOREPLACE | RenameFlags::RENAME_EXCHANGE;
    assert_eq!(rename_mode(both), Err(Errno::EINVAL));
}

#[test]
fn mknod_makes_what_it_can_and_refuses_directories() {
    assert_eq!(make(libc::S_IFREG | 0o644, 0), Ok(MakeInode::File));
    assert_eq!(make(0o644, 0), Ok(MakeInode::File));
    assert_eq!(make(libc::S_IFCHR, 0x103), Ok(MakeInode::CharDevice(libc::makedev(1, 3))));
    assert_eq!(make(libc::S_IFDIR, 0), Err(Errno::EINVAL));
}

#[test]
fn fallocate_modes_that_move_bytes_are_not_supported() {
    assert!(allocate(libc::FALLOC_FL_KEEP_SIZE).is_ok());
    assert!(allocate(libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE).is_ok());
    assert_eq!(allocate(libc::FALLOC_FL_COLLAPSE_RANGE).err(), Some(Errno::EOPNOTSUPP));
}

#[test]
fn a_missing_name_is_an_entry_without_a_node() {
    assert_eq!(no_entry().ino, INodeNo(0));
}
