//! Packages named in a Python source itself, in the block of comments that PEP 723 describes.

use serde::Deserialize;

/// What such a block says.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct ScriptBlock {
    #[serde(default)]
    pub(super) dependencies: Vec<String>,
    #[serde(default, rename = "requires-python")]
    pub(super) requires_python: Option<String>,
}

const FIRST: &str = "# /// script";
const LAST: &str = "# ///";

/// The block of a source, where it has one.
pub(super) fn read(source: &str) -> Result<Option<ScriptBlock>, String> {
    let mut lines = source.lines().enumerate();
    let Some((first, _)) = lines.by_ref().find(|(_, line)| line.trim_end() == FIRST) else { return Ok(None) };
    let mut text = String::new();
    for (_, line) in lines {
        if line.trim_end() == LAST {
            return toml::from_str(&text).map(Some).map_err(|error| {
                format!("the block `{FIRST}` on line {} is no TOML that it can be: {}", first + 1, error.message())
            });
        }
        match line.strip_prefix("# ").or_else(|| (line.trim_end() == "#").then_some("")) {
            Some(line) => text.push_str(line),
            None => break,
        }
        text.push('\n');
    }
    Err(format!("the block `{FIRST}` on line {} has no end: a line `{LAST}`", first + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_names_packages_and_versions() {
        let source = "\"\"\"Doc.\"\"\"\n# /// script\n# requires-python = \">=3.11\"\n# dependencies = [\n#   \"requests<3\",\n#\n#   \"rich\",\n# ]\n# ///\nimport rich\n";
        let block = read(source).unwrap().unwrap();
        assert_eq!(block.dependencies, ["requests<3", "rich"]);
        assert_eq!(block.requires_python.as_deref(), Some(">=3.11"));
        assert_eq!(read("import os\n# /// other\n"), Ok(None));
    }

    #[test]
    fn a_block_that_is_none_is_named_with_its_line() {
        let error = read("\n# /// script\n# dependencies = [\n").unwrap_err();
        assert!(error.contains("line 2") && error.contains("no end"), "{error}");
        let error = read("# /// script\n# dependencies = 1\n# ///\n").unwrap_err();
        assert!(error.contains("line 1"), "{error}");
    }
}
