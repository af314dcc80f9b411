//! A store as a file: exports that another engine can import, and copies of the embedded store.
//!
//! [`record`] is a row as it is exported, [`frame`] the lines around the rows, [`lines`] the file's form, checked as it is read,
//! [`writing`] and [`importing`] what each engine needs of the two ways. [`mod@export`] and [`mod@import`] go row by row and know no SQL: that is the engines'.

pub(super) mod backup;
#[cfg(test)]
mod backup_tests;
#[cfg(test)]
mod difference_tests;
pub(super) mod export;
#[cfg(test)]
mod fault_tests;
pub(super) mod frame;
pub(super) mod import;
pub(super) mod importing;
pub(super) mod lines;
#[cfg(test)]
mod long_use_tests;
pub(super) mod part_file;
pub(super) mod record;
#[cfg(test)]
mod resume_tests;
#[cfg(test)]
mod tests;
pub(super) mod writing;
