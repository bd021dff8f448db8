//! A tree as text, to compare trees by.

use std::fmt::{self, Write as _};

use super::{Attribute, Attributes, Child, FileVersion, InodeId, Kind, Lost, Shows, Tree};
use crate::name::Name;

impl Tree {
    /// Writes everything that shows, one line each in the order of names below each directory:
    /// equal trees give equal text, different trees different text. Names and values are
    /// quoted, and what is not printable ASCII in them is escaped.
    pub fn dump(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("a string takes everything");
        text
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        let mut waiting: Vec<(String, InodeId)> = vec![(String::new(), self.root)];
        while let Some((path, inode)) = waiting.pop() {
            let directory = &self.directories[&inode];
            write!(text, "\"{path}/\" directory")?;
            directory.inodes.iter().try_for_each(|inode| write!(text, " {}", inode.0))?;
            write_attributes(text, &directory.attributes)?;
            for (name, child) in &directory.children {
                let path = format!("{path}/{}", name.as_bytes().escape_ascii());
                write_child(text, &path, name, child)?;
                if let Shows::Directory(inode) = child.shows {
                    waiting.push((path, inode));
                }
            }
        }
        for Lost { edge, stamp, reason } in &self.lost {
            writeln!(text, "lost {} {stamp} {reason:?}", edge.0)?;
        }
        for edge in &self.hidden {
            writeln!(text, "hidden {}", edge.0)?;
        }
        Ok(())
    }
}

fn write_child(text: &mut String, path: &str, name: &Name, child: &Child) -> fmt::Result {
    write!(text, "\"{path}\"")?;
    if child.own_name != *name {
        write!(text, " for \"{}\"", child.own_name.as_bytes().escape_ascii())?;
    }
    child.edges.keys().try_for_each(|edge| write!(text, " edge {}", edge.0))?;
    match &child.shows {
        Shows::Directory(inode) => writeln!(text, " directory {}", inode.0),
        Shows::Other { inode, kind, attributes } => {
            write!(text, " {}", inode.0)?;
            write_kind(text, kind)?;
            write_attributes(text, attributes)
        }
        Shows::File(file) => {
            write!(text, " file")?;
            file.inodes.iter().try_for_each(|inode| write!(text, " {}", inode.0))?;
            write!(text, " mtime {} shows {}", file.mtime_ns(), file.inode.0)?;
            write_attributes(text, &file.attributes)?;
            write_version(text, "live", &file.live)?;
            let mut conflicts = file.conflicts.iter();
            conflicts.try_for_each(|version| write_version(text, "conflict", version))?;
            file.heads.iter().try_for_each(|head| writeln!(text, "  head {head}"))
        }
    }
}

fn write_kind(text: &mut String, kind: &Kind) -> fmt::Result {
    match kind {
        Kind::File => write!(text, " file"),
        Kind::Directory => write!(text, " directory"),
        Kind::Symlink { target } => write!(text, " symlink \"{}\"", target.escape_ascii()),
        Kind::Special { type_bits, rdev } => write!(text, " special {type_bits:o} {rdev:x}"),
    }
}

fn write_version(text: &mut String, what: &str, version: &FileVersion) -> fmt::Result {
    let FileVersion { inode, stamp, content } = version;
    write!(text, "  {what} {stamp} of {} {} bytes ", inode.0, content.size_bytes)?;
    content.hash.iter().flatten().try_for_each(|byte| write!(text, "{byte:02x}"))?;
    writeln!(text)
}

fn write_attributes(text: &mut String, attributes: &Attributes) -> fmt::Result {
    for (_, attribute) in attributes.values() {
        match attribute {
            Attribute::Permissions(bits) => write!(text, " {bits:o}")?,
            Attribute::Uid(uid) => write!(text, " uid {uid}")?,
            Attribute::Gid(gid) => write!(text, " gid {gid}")?,
            Attribute::Mtime(mtime_ns) => write!(text, " mtime {mtime_ns}")?,
            Attribute::Xattr { value: None, .. } => {}
            Attribute::Xattr { name, value: Some(value) } => {
                write!(text, " \"{}\"=\"{}\"", name.escape_ascii(), value.escape_ascii())?;
            }
        }
    }
    writeln!(text)
}
