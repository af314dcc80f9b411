//! What this program is called in the commands that it tells somebody to run.

use std::path::Path;

use crate::text::{self, printable};

/// As it was called, which works once more from the same place.
pub(super) fn as_typed() -> String {
    match std::env::args_os().next() {
        Some(typed) if !typed.is_empty() => word(&typed.to_string_lossy()),
        Some(_) | None => "countersign".to_owned(),
    }
}

/// As it is called from where one is, however it was called: for another terminal.
pub(super) fn from_here() -> String {
    let program = std::env::current_exe().ok();
    let here = std::env::current_dir().ok();
    called(program.as_deref(), here.as_deref())
}

/// A word as a shell takes it, fit for a terminal.
pub(super) fn word(text: &str) -> String {
    printable(&text::word(text))
}

/// How this program is called from `here`: a name without a slash would be looked for elsewhere.
fn called(program: Option<&Path>, here: Option<&Path>) -> String {
    let Some(program) = program else {
        return "countersign".to_owned();
    };
    let beneath = here.and_then(|here| program.strip_prefix(here).ok());
    let shown = match beneath {
        Some(name) if name.components().count() == 1 => Path::new(".").join(name),
        Some(path) => path.to_owned(),
        None => program.to_owned(),
    };
    word(&shown.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_called_from_where_one_is() {
        let called = |program: &str| called(Some(Path::new(program)), Some(Path::new("/srv")));
        assert_eq!(called("/srv/countersign"), "./countersign");
        assert_eq!(called("/srv/bin/countersign"), "bin/countersign");
        assert_eq!(
            called("/opt/my bin/countersign"),
            "'/opt/my bin/countersign'"
        );
        assert_eq!(super::called(None, None), "countersign");
    }
}
