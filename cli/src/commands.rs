//! What can be asked of a node, one noun a file.

pub(crate) mod branch;
pub(crate) mod bucket;
pub(crate) mod cat;
pub(crate) mod conflicts;
pub(crate) mod deleted;
pub(crate) mod diff;
pub(crate) mod export;
pub(crate) mod gc;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod log;
pub(crate) mod man;
pub(crate) mod merge;
pub(crate) mod mount;
pub(crate) mod operation;
pub(crate) mod restore;
pub(crate) mod settings;
pub(crate) mod status;
pub(crate) mod story;
pub(crate) mod switch;
pub(crate) mod umount;
pub(crate) mod verify;

use crate::control::Routes;

/// Every request the control socket serves.
pub(crate) fn register(routes: &mut Routes) {
    routes.add::<bucket::Create>();
    routes.add::<bucket::List>();
    routes.add::<bucket::Describe>();
    routes.add::<settings::Set>();
    routes.add::<bucket::Rename>();
    routes.add::<bucket::Remove>();
    routes.add::<bucket::Restore>();
    routes.add::<branch::Create>();
    routes.add::<branch::List>();
    routes.add::<branch::Change>();
    routes.add::<merge::Merge>();
    routes.add::<conflicts::List>();
    routes.add::<conflicts::Describe>();
    routes.add::<conflicts::Resolve>();
    routes.add::<operation::Log>();
    routes.add::<operation::Describe>();
    routes.add::<operation::PutBack>();
    routes.add::<mount::Mount>();
    routes.add::<mount::Wait>();
    routes.add::<umount::Umount>();
    routes.add::<switch::Switch>();
    routes.add::<status::Status>();
    routes.add::<story::Story>();
    routes.add::<log::Log>();
    routes.add::<cat::Cat>();
    routes.add::<restore::Restore>();
    routes.add::<deleted::Deleted>();
    routes.add::<diff::Diff>();
    routes.add::<import::Import>();
    routes.add::<export::Export>();
    routes.add::<verify::Verify>();
    routes.add::<gc::Gc>();
    routes.add::<history::Prune>();
}
