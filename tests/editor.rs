//! An editor's session with `bue lsp`, message by message, over its standard input and output.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Longest time for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

const SCRIPT: &str = "$ small
fetch:
    python
    !9
    get
    steps.py
p = | fetch
v = p()
p(v)
";

/// The other side of the protocol.
struct Editor {
    server: Child,
    input: Option<ChildStdin>,
    messages: Receiver<Value>,
    uri: String,
    requests: i64,
}

impl Editor {
    fn start(folder: &Path) -> Self {
        let mut server = Command::new(env!("CARGO_BIN_EXE_bue"))
            .arg("lsp")
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(server.stdout.take().unwrap());
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            while let Some(message) = read(&mut output) {
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let input = server.stdin.take();
        let uri = format!("file://{}/script.bue", folder.display());
        Self { server, input, messages, uri, requests: 0 }
    }

    /// A session that has begun, with this text open.
    fn with(folder: &Path, text: &str) -> Self {
        let mut editor = Self::start(folder);
        let answer = editor.ask("initialize", json!({"processId": null, "rootUri": null, "capabilities": {}}));
        assert_eq!(answer["result"]["capabilities"]["hoverProvider"], json!(true));
        editor.tell("initialized", json!({}));
        let document = json!({"uri": editor.uri, "languageId": "bue", "version": 1, "text": text});
        editor.tell("textDocument/didOpen", json!({"textDocument": document}));
        editor
    }

    fn send(&mut self, message: &Value) {
        let body = message.to_string();
        let input = self.input.as_mut().unwrap();
        write!(input, "Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        input.flush().unwrap();
    }

    fn tell(&mut self, method: &str, parameters: Value) {
        self.send(&json!({"jsonrpc": "2.0", "method": method, "params": parameters}));
    }

    fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.requests += 1;
        let id = self.requests;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": parameters}));
        self.next(|message| message["id"] == json!(id))
    }

    fn next(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let message = self.messages.recv_timeout(left).expect("an answer in time");
            if wanted(&message) {
                return message;
            }
        }
    }

    fn diagnostics(&self) -> Vec<Value> {
        let message = self.next(|message| message["method"] == json!("textDocument/publishDiagnostics"));
        message["params"]["diagnostics"].as_array().unwrap().clone()
    }

    fn change(&mut self, text: &str) {
        let document = json!({"uri": self.uri, "version": 2});
        self.tell("textDocument/didChange", json!({"textDocument": document, "contentChanges": [{"text": text}]}));
    }

    fn at(&mut self, method: &str, line: u32, character: u32) -> Value {
        let position = json!({"line": line, "character": character});
        self.ask(method, json!({"textDocument": {"uri": self.uri}, "position": position}))["result"].clone()
    }

    fn labels(&mut self, line: u32, character: u32) -> Vec<String> {
        let items = self.at("textDocument/completion", line, character);
        items.as_array().unwrap().iter().map(|item| item["label"].as_str().unwrap().to_owned()).collect()
    }

    fn end(mut self) -> Option<i32> {
        self.ask("shutdown", Value::Null);
        self.tell("exit", Value::Null);
        self.code()
    }

    fn code(&mut self) -> Option<i32> {
        drop(self.input.take());
        self.server.wait().unwrap().code()
    }
}

impl Drop for Editor {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn read(from: &mut impl BufRead) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if from.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("Content-Length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("steps.py"), "import os\n\n\nasync def get(x=None):\n    return []\n").unwrap();
    folder
}

#[test]
fn diagnostics_follow_the_text() {
    let folder = folder();
    let mut editor = Editor::with(folder.path(), "p(ü, y)\n");
    let found = editor.diagnostics();
    assert_eq!(found.len(), 3);
    assert_eq!(found[2]["range"], json!({"start": {"line": 0, "character": 5}, "end": {"line": 0, "character": 6}}));
    assert_eq!((&found[2]["severity"], &found[2]["code"]), (&json!(1), &json!("name")));
    editor.change(SCRIPT);
    assert_eq!(editor.diagnostics(), Vec::<Value>::new());
    editor.change(&SCRIPT.replace("steps.py", "stepps.py"));
    let found = editor.diagnostics();
    assert!(found[0]["message"].as_str().unwrap().contains("did you mean `steps.py`?"), "{found:?}");
    let uri = editor.uri.clone();
    editor.tell("textDocument/didClose", json!({"textDocument": {"uri": uri}}));
    assert_eq!(editor.diagnostics(), Vec::<Value>::new());
    assert_eq!(editor.end(), Some(0));
}

#[test]
fn hover_tells_of_steps_and_settings() {
    let folder = folder();
    let mut editor = Editor::with(folder.path(), SCRIPT);
    let step = editor.at("textDocument/hover", 6, 7);
    assert_eq!(step["contents"]["value"], json!("step **fetch**: python `get` in `steps.py`\n\n`!9`"));
    assert_eq!(step["range"]["start"], json!({"line": 6, "character": 6}));
    let setting = editor.at("textDocument/hover", 3, 4);
    assert!(setting["contents"]["value"].as_str().unwrap().starts_with("**priority**"), "{setting}");
    assert_eq!(editor.at("textDocument/hover", 0, 30)["contents"], editor.at("textDocument/hover", 0, 0)["contents"]);
    assert_eq!(editor.at("textDocument/hover", 99, 0), Value::Null);
    assert_eq!(editor.end(), Some(0));
}

#[test]
fn definitions_are_found_in_the_script_and_in_the_python_file() {
    let folder = folder();
    let mut editor = Editor::with(folder.path(), SCRIPT);
    let start = |answer: &Value| (answer["uri"].clone(), answer["range"]["start"].clone());
    let own = json!(editor.uri);
    let place = |line: u32, character: u32| json!({"line": line, "character": character});
    assert_eq!(start(&editor.at("textDocument/definition", 6, 8)), (own.clone(), place(1, 0)));
    assert_eq!(start(&editor.at("textDocument/definition", 8, 0)), (own.clone(), place(6, 0)));
    assert_eq!(start(&editor.at("textDocument/definition", 8, 2)), (own, place(7, 0)));
    let python = json!(format!("file://{}/steps.py", folder.path().display()));
    assert_eq!(start(&editor.at("textDocument/definition", 4, 5)), (python.clone(), place(3, 10)));
    assert_eq!(start(&editor.at("textDocument/definition", 5, 5)), (python, place(0, 0)));
    assert_eq!(editor.end(), Some(0));
}

#[test]
fn a_name_of_an_import_leads_to_its_function_where_there_is_one() {
    let folder = folder();
    let text = "import python (get as fetch, gone) steps.py\np = fetch | gone\n";
    let mut editor = Editor::with(folder.path(), text);
    let start = |answer: &Value| (answer["uri"].clone(), answer["range"]["start"].clone());
    let python = (json!(format!("file://{}/steps.py", folder.path().display())), json!({"line": 3, "character": 10}));
    let own = (json!(editor.uri), json!({"line": 0, "character": 29}));
    for (line, character, place) in [(0, 15, &python), (0, 22, &python), (1, 5, &python), (0, 30, &own), (1, 13, &own)]
    {
        assert_eq!(&start(&editor.at("textDocument/definition", line, character)), place, "{line}:{character}");
    }
    assert_eq!(editor.end(), Some(0));
}

#[test]
fn completion_offers_what_fits() {
    let folder = folder();
    let mut editor = Editor::with(folder.path(), &format!("{SCRIPT}q = | \np(\nx:\n    \n    !\n"));
    assert_eq!(editor.labels(9, 6), ["fetch", "x"]);
    assert_eq!(editor.labels(10, 2), ["v"]);
    assert_eq!(editor.labels(12, 4), ["python", "sqlite3", "postgres", "duckdb", "p", "q", "steps.py"]);
    let settings = editor.labels(13, 5);
    assert_eq!(settings[..5], ["!scope", "!priority", "!timeout", "!retries", "!backoff"]);
    assert!(settings.contains(&"!requirements".to_owned()), "{settings:?}");
    assert_eq!(editor.end(), Some(0));
}

#[test]
fn symbols_and_formatting_cover_the_text() {
    let folder = folder();
    let mut editor = Editor::with(folder.path(), &SCRIPT.replace("p = | fetch", "p=fetch|"));
    let document = json!({"textDocument": {"uri": editor.uri}});
    let symbols = editor.ask("textDocument/documentSymbol", document.clone())["result"].clone();
    let names: Vec<&str> = symbols.as_array().unwrap().iter().map(|symbol| symbol["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["fetch", "p", "v"]);
    let edits = editor.ask("textDocument/formatting", document)["result"].clone();
    assert_eq!(edits[0]["newText"], json!(SCRIPT));
    assert_eq!(edits[0]["range"]["end"], json!({"line": 9, "character": 0}));
    assert_eq!(editor.end(), Some(0));
}

#[test]
fn nonsense_is_answered_and_the_session_goes_on() {
    let folder = folder();
    let mut editor = Editor::start(folder.path());
    assert_eq!(editor.ask("textDocument/hover", json!({}))["error"]["code"], json!(-32_002));
    let input = editor.input.as_mut().unwrap();
    input.write_all(b"Content-Length: 3\r\n\r\n{x}").unwrap();
    assert_eq!(editor.next(|message| message["id"].is_null())["error"]["code"], json!(-32_700));
    editor.ask("initialize", json!({}));
    assert_eq!(editor.ask("textDocument/nothing", json!({}))["error"]["code"], json!(-32_601));
    assert_eq!(
        editor.ask("textDocument/hover", json!({"textDocument": {"uri": "file:///nothing"}}))["result"],
        Value::Null
    );
    assert_eq!(editor.end(), Some(0));
}

#[test]
fn an_editor_that_goes_away_without_a_word_ends_the_server() {
    let folder = folder();
    let mut editor = Editor::with(folder.path(), SCRIPT);
    assert_eq!(editor.code(), Some(1));
}
