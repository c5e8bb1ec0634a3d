//! Every setting with its name, its flag, its default and its meaning. `docs/settings.md` shows the same.

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Name of the variable.
    pub name: &'static str,
    /// The flag that beats it, where there is one.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the documentation, which a test compares"))]
    pub flag: &'static str,
    /// What holds where it is not set, for people.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the documentation, which a test compares"))]
    pub default: &'static str,
    /// What it is for.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the documentation, which a test compares"))]
    pub meaning: &'static str,
    /// Whether its text must not be shown.
    pub secret: bool,
}

macro_rules! settings {
    ($($kind:ident $name:ident, $flag:literal, $default:literal, $meaning:literal;)*) => {
        $(
            #[doc = $meaning]
            pub const $name: Setting = Setting {
                name: stringify!($name),
                flag: $flag,
                default: $default,
                meaning: $meaning,
                secret: settings!(@$kind),
            };
        )*
        /// All of them, in the order of the documentation; limits are in [`super::limits`].
        pub const ALL: &[&Setting] = &[$(&$name),*];
    };
    (@plain) => { false };
    (@secret) => { true };
}

settings! {
    plain PIPELINE_HOST, "`-b`", "127.0.0.1", "Where the hub listens, and where `upload`, `status` and the other commands of a user find it.";
    plain PIPELINE_PORT, "`-b`", "65432", "Port of the hub, for the hub and for users.";
    plain PIPE_WORKER_HOST, "`-b`", "127.0.0.1", "Where a worker finds the hub.";
    plain PIPE_WORKER_PORT, "`-b`", "65432", "Port where a worker finds the hub.";
    plain PIPE_WORKER_SCOPES, "`-s`", "production-very-heavy, production-heavy, production-medium, production-small, testing-heavy, testing-medium, testing-small, default", "Scopes a worker serves, with commas between them; earlier ones go first.";
    plain N_WORKER_PROCESSES, "`-n`", "16", "Slots of a worker: jobs it runs at once.";
    plain BUCKET_SERVER_HOST, "`-b`", "127.0.0.1", "Where `bue bucket` listens.";
    plain BUCKET_SERVER_PORT, "`-b`", "61535", "Port of `bue bucket`.";
    plain BUCKET_CLIENT_HOST, "`-k`", "127.0.0.1", "Where hub and workers find the bucket server.";
    plain BUCKET_CLIENT_PORT, "`-k`", "61535", "Port where hub and workers find the bucket server.";
    plain BUE_BUCKET, "`-k`", "", "URL of the bucket where it is no `bue bucket`: `file:///folder` or `s3://bucket/prefix?endpoint=…`; beats BUCKET_CLIENT_HOST and BUCKET_CLIENT_PORT.";
    secret AWS_ACCESS_KEY_ID, "", "made by `bue bucket`", "Access key of the bucket; both keys or none.";
    secret AWS_SECRET_ACCESS_KEY, "", "made by `bue bucket`", "Secret key of the bucket.";
    secret AWS_SESSION_TOKEN, "", "", "Session token of temporary keys.";
    plain AWS_REGION, "", "us-east-1", "Region of an `s3://` bucket whose URL names none.";
    plain AWS_DEFAULT_REGION, "", "", "The same, where AWS_REGION is not set.";
    secret BUE_POSTGRES, "`-p`", "", "Address of the PostgreSQL database that keeps the queue, `postgres://user:password@host:port/database`; without it the queue is a file.";
    plain POSTGRES_HOST, "", "", "Database of `postgres` steps: host.";
    plain POSTGRES_PORT, "", "5432", "Database of `postgres` steps: port.";
    plain POSTGRES_USER, "", "", "Database of `postgres` steps: user.";
    secret POSTGRES_PASSWORD, "", "", "Database of `postgres` steps: password.";
    plain POSTGRES_DATABASE, "", "", "Database of `postgres` steps: name.";
    plain POSTGRES_SSLMODE, "", "prefer", "Database of `postgres` steps: `disable`, `prefer`, `require` or `verify-full`.";
    plain POSTGRES_SSLROOTCERT, "", "those of the system", "Database of `postgres` steps: file with the certificates that `verify-full` goes by.";
    secret BUE_CONNECTION_NAME, "", "", "Database of `postgres` steps with `!connection name`: `postgres://user:password@host:port/database?sslmode=…`; `NAME` stands for the name in capitals.";
    plain REVERSE_PRIORITY, "", "false", "`true`: the hub starts lower priorities first.";
    secret BUE_TOKEN, "", "made by the hub", "The hub's token, on machines that do not share its data folder.";
    secret BUE_SECRET_KEY, "", "made by the hub", "Keys that seal secrets in the hub's database, 64 hex digits each, with commas between them; the first one seals, all open.";
    plain BUE_DATA_DIR, "`--data-dir`", ".bue", "Folder of all state: the hub's queue, the bucket's objects, the worker's cache, token and keys.";
    plain BUE_PYTHON, "`--python`", "python3", "The interpreter of Python steps: 3.9 or later.";
    plain BUE_SANDBOX, "`--sandbox`", "standard", "How steps of a worker are shut in: `strict` (all layers, or nothing runs), `standard` (the layers this machine has) or `off`.";
    plain BUE_STEP_USER, "", "65530", "Number of the user and group that steps run as where the worker is root.";
    plain BUE_STEP_READABLE, "", "", "Further files and folders that steps of a worker can read in its sandbox, with colons between them.";
    plain BUE_PACKAGES_FROM_SOURCE, "", "false", "`true`: packages that steps ask for may be installed from source, from paths and addresses, and with any option: that runs what they bring as the worker's user.";
    plain BUE_STEP_WRITABLE, "`--writable`", "", "Folders of the machine that steps of a worker can write in its sandbox, with colons between them; `BUE_STEP_USER` must be allowed to. A folder that is replaced is written in again when the worker starts anew.";
    plain BUE_DUCKDB, "", "beside `bue`", "The program that runs `duckdb` steps.";
    plain BUE_LOG, "", "info", "What services log: `error`, `warn`, `info`, `debug`, or filters such as `info,bue_hub=debug`.";
}

/// The table of the documentation, limits included.
#[cfg(test)]
fn rendered() -> String {
    let mut text = String::from("| setting | flag | default | meaning |\n|---|---|---|---|\n");
    for setting in ALL {
        let default = if setting.default.is_empty() { "–".to_owned() } else { setting.default.to_owned() };
        let flag = if setting.flag.is_empty() { "–" } else { setting.flag };
        text.push_str(&format!("| `{}` | {flag} | {default} | {} |\n", setting.name, setting.meaning));
    }
    text.push_str("\n| limit | default | meaning |\n|---|---|---|\n");
    for row in super::limits::rows() {
        text.push_str(&format!("| `{}` | {} | {} |\n", row.name, row.default, row.meaning));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_shows_every_setting_as_it_is() {
        let documentation = include_str!("../../docs/settings.md");
        let (_, tables) = documentation.split_once("<!-- tables -->\n").expect("the tables begin after their mark");
        let expected = rendered();
        assert!(tables == expected, "docs/settings.md must go on after its mark with exactly this:\n{expected}");
    }

    #[test]
    fn no_setting_is_named_twice() {
        let limits = super::super::limits::rows();
        let mut names: Vec<&str> =
            ALL.iter().map(|setting| setting.name).chain(limits.iter().map(|row| row.name)).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
