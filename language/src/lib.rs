//! The .bue language: text to plan, with diagnostics. Pure: no IO, no clock, no async.
