//! Bodies, read as far as a signature or a mapping asks for: by place, in one pass, with a bound on everything.
//!
//! [`mod@json`] reads JSON where it stands, [`form`] forms, [`xml`] as much of XML as a notification needs; [`document`] is
//! whichever of them a profile speaks of. Which bytes are verified is no matter of theirs: they are only asked.

pub(super) mod compressed;
pub(super) mod document;
pub(super) mod form;
pub(super) mod json;
pub(super) mod select;
pub(super) mod xml;
