//! Open handles by the number the kernel knows them by.

use std::sync::{Arc, PoisonError, RwLock};

use fuser::FileHandle;

/// Handles by number. A number that was given up is not given out again soon: its upper half
/// counts the uses of its slot, so that a late request never meets a stranger's handle.
#[derive(Debug)]
pub(super) struct Handles<T> {
    slots: RwLock<Slots<T>>,
}

#[derive(Debug)]
struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    uses: u32,
    handle: Option<Arc<T>>,
}

impl<T> Handles<T> {
    pub(super) fn new() -> Self {
        Self { slots: RwLock::new(Slots { slots: Vec::new(), free: Vec::new() }) }
    }

    /// Keeps a handle and returns its number.
    pub(super) fn insert(&self, handle: T) -> FileHandle {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let index = slots.free.pop().unwrap_or_else(|| {
            let index = u32::try_from(slots.slots.len()).expect("the system has fewer files");
            slots.slots.push(Slot { uses: 0, handle: None });
            index
        });
        let slot = &mut slots.slots[index as usize];
        slot.handle = Some(Arc::new(handle));
        FileHandle(u64::from(slot.uses) << 32 | u64::from(index))
    }

    /// Returns the handle of a number, if it is open.
    pub(super) fn find(&self, number: FileHandle) -> Option<Arc<T>> {
        let (uses, index) = parts(number);
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.slots.get(index as usize).filter(|slot| slot.uses == uses)?;
        slot.handle.clone()
    }

    /// Gives a number up and returns its handle.
    pub(super) fn remove(&self, number: FileHandle) -> Option<Arc<T>> {
        let (uses, index) = parts(number);
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.slots.get_mut(index as usize).filter(|slot| slot.uses == uses)?;
        let handle = slot.handle.take()?;
        slot.uses = slot.uses.wrapping_add(1);
        slots.free.push(index);
        Some(handle)
    }
}

fn parts(number: FileHandle) -> (u32, u32) {
    let uses = u32::try_from(number.0 >> 32).expect("the upper half fits");
    let index = u32::try_from(number.0 & u64::from(u32::MAX)).expect("the lower half fits");
    (uses, index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_leads_to_its_handle_until_it_is_given_up() {
        let handles = Handles::new();
        let (first, second) = (handles.insert("a"), handles.insert("b"));
        assert_eq!(handles.find(first).as_deref(), Some(&"a"));
        assert_eq!(handles.remove(first).as_deref(), Some(&"a"));
        assert_eq!(handles.find(first), None);
        assert_eq!(handles.remove(first), None);
        assert_eq!(handles.find(second).as_deref(), Some(&"b"));
    }

    #[test]
    fn an_old_number_does_not_lead_to_a_new_handle() {
        let handles = Handles::new();
        let old = handles.insert("a");
        handles.remove(old);
        let new = handles.insert("b");
        assert_ne!(old, new);
        assert_eq!(handles.find(old), None);
        assert_eq!(handles.find(FileHandle(77)), None);
    }
}
