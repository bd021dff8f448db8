//! The node database from outside: the plans of its statements, old files, and its speed.

mod fixture;
mod measure;
mod plans;
mod statements;
mod tree;
