//! The store against real directories, files and processes.

mod data_dir;
mod definitions;
mod keys;
mod process;
mod sessions;
mod vault;
