//! Variables and secrets: which reach a step, and that none of a secret leaves the worker.

use protocol::ErrorKind;

use crate::fake_hub::{Fleet, Work, log_text, python};
use bue_worker::Start;

fn with_secret(work: Work, name: &str) -> Work {
    work.set(|settings| settings.runtime.secrets = vec![name.to_owned()])
}

fn set_secret(fleet: &Fleet, name: &str, value: &str) {
    fleet.hub.secrets.lock().unwrap().insert(name.to_owned(), value.to_owned());
}

#[tokio::test]
async fn a_declared_secret_is_a_variable_of_the_step_and_of_no_other() {
    for start in [Start::Forked, Start::Fresh] {
        let fleet = Fleet::with(|config| config.start = start);
        set_secret(&fleet, "API_TOKEN", "hunter2");
        let code = "import os\ndef step():\n    return os.environ.get('API_TOKEN', 'none')\n";
        let value = fleet.value(with_secret(python(code), "API_TOKEN")).await;
        assert_eq!(value, "\"hunter2\"", "{start:?}");
        assert_eq!(fleet.value(python(code)).await, "\"none\"", "{start:?}");
    }
}

#[tokio::test]
async fn a_secret_stays_out_of_log_message_and_traceback() {
    let fleet = Fleet::start();
    set_secret(&fleet, "API_TOKEN", "hunter2\nsecond-line");
    let code = "import os, sys\n\ndef step():\n    token = os.environ['API_TOKEN']\n    print('token', token)\n    \
                for letter in token:\n        os.write(1, letter.encode())\n    \
                print(repr(token), file=sys.stderr)\n    raise ValueError('refused ' + token)\n";
    let settlement = fleet.run(with_secret(python(code), "API_TOKEN")).await;
    let log = log_text(&settlement).to_owned();
    assert!(log.contains("token ***") && log.contains("'***'"), "{log}");
    let whole = serde_json::to_string(&settlement).unwrap();
    assert!(whole.contains("ValueError: refused ***"), "{whole}");
    for part in ["hunter2", "second-line"] {
        assert!(!whole.contains(part), "{whole}");
    }
}

#[tokio::test]
async fn a_secret_that_nobody_has_set_is_named_with_the_command_that_sets_it() {
    let fleet = Fleet::start();
    let error = fleet.error(with_secret(python("def step():\n    pass\n"), "GONE")).await;
    assert_eq!(error.kind, ErrorKind::Secret);
    assert!(error.message.contains("secret GONE") && error.message.contains("bue secret set GONE"), "{error:?}");
}

#[tokio::test]
async fn only_declared_variables_of_the_worker_reach_a_step() {
    let fleet = Fleet::start();
    let code = "import os\ndef step():\n    return sorted(os.environ)\n";
    let plain: Vec<String> = serde_json::from_str(&fleet.value(python(code)).await).unwrap();
    assert!(!plain.iter().any(|name| name.starts_with("CARGO")), "{plain:?}");
    let names = ["CARGO_PKG_NAME", "NO_SUCH_VARIABLE"].map(str::to_owned).to_vec();
    let declaring = python(code).set(|settings| settings.runtime.environment = names);
    let settlement = fleet.run(declaring).await;
    assert!(log_text(&settlement).contains("bue: this worker has no variable NO_SUCH_VARIABLE"), "{settlement:?}");
    let whole = serde_json::to_string(&settlement).unwrap();
    assert!(whole.contains("CARGO_PKG_NAME") && !whole.contains("CARGO_MANIFEST_DIR"), "{whole}");
}

#[tokio::test]
async fn what_is_the_workers_own_goes_to_no_step() {
    let fleet = Fleet::start();
    for name in ["BUE_TOKEN", "AWS_SECRET_ACCESS_KEY"] {
        let declaring =
            python("def step():\n    pass\n").set(|settings| settings.runtime.environment = vec![name.to_owned()]);
        let error = fleet.error(declaring).await;
        assert_eq!(error.kind, ErrorKind::Load);
        assert!(error.message.contains(name) && error.message.contains("bue secret set"), "{error:?}");
    }
}
