//! What a worker makes of the layers that its machine has.

use std::fmt;
use std::str::FromStr;

use crate::cell::Walls;
use crate::layers::{Layer, Report};

/// How much of a sandbox a worker insists on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// All layers, or none of its steps is run.
    Strict,
    /// The layers this machine has.
    #[default]
    Standard,
    /// None.
    Off,
}

impl Policy {
    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Standard => "standard",
            Self::Off => "off",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Strict, Self::Standard, Self::Off]
            .into_iter()
            .find(|policy| policy.as_str() == text)
            .ok_or_else(|| format!("`{text}` is none of `strict`, `standard` and `off`"))
    }
}

/// The sandbox that the steps of a worker run in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Level {
    /// The layers in use; `None`: there is no sandbox.
    pub report: Option<Report>,
}

impl Level {
    /// No sandbox.
    #[must_use]
    pub fn off() -> Self {
        Self { report: None }
    }

    /// What it is built of; `None`: there is none.
    #[must_use]
    pub fn walls(&self) -> Option<Walls> {
        self.report.as_ref().map(Report::walls)
    }

    /// Whether steps can be kept from the network.
    #[must_use]
    pub fn has_network(&self) -> bool {
        self.report.as_ref().is_some_and(|report| report.walls().namespaces && report.has(Layer::Network))
    }

    /// In words, as it is recorded: `full`, `off`, or `without files, landlock`.
    #[must_use]
    pub fn summary(&self) -> String {
        let Some(report) = &self.report else { return "off".to_owned() };
        let missing: Vec<&str> = report.missing().iter().map(|finding| finding.layer.name()).collect();
        if missing.is_empty() { "full".to_owned() } else { format!("without {}", missing.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Finding;

    fn report(missing: &[Layer]) -> Report {
        let reason = |layer| missing.contains(layer).then(|| "refused".to_owned());
        Report { findings: Layer::ALL.iter().map(|layer| Finding { layer: *layer, missing: reason(layer) }).collect() }
    }

    #[test]
    fn the_level_names_what_is_missing() {
        assert_eq!(Level::off().summary(), "off");
        assert_eq!(Level { report: Some(report(&[])) }.summary(), "full");
        let level = Level { report: Some(report(&[Layer::Files, Layer::Fence])) };
        assert_eq!(level.summary(), "without files, landlock");
    }

    #[test]
    fn cells_within_cells_take_all_of_the_ground_they_stand_on() {
        for layer in [Layer::Users, Layer::Processes, Layer::Files, Layer::Attempts] {
            let walls = report(&[layer]).walls();
            assert!(!walls.namespaces && walls.fence && walls.syscalls, "{layer}");
        }
        assert!(report(&[Layer::Network]).walls().namespaces);
    }

    #[test]
    fn a_policy_is_one_of_three_words() {
        assert_eq!("strict".parse(), Ok(Policy::Strict));
        assert!("none".parse::<Policy>().unwrap_err().contains("`strict`, `standard` and `off`"));
    }
}
