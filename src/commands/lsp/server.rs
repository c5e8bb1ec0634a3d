//! Which message of an editor is answered by what.

use std::collections::HashMap;
use std::io::{BufRead, Write};

use serde_json::{Value, json};

use super::answers;
use super::document::Document;
use super::transport::{self, Incoming, TransportError};

/// Codes of errors, as JSON-RPC and the protocol define them.
const PARSE_ERROR: i64 = -32_700;
const INVALID_REQUEST: i64 = -32_600;
const METHOD_NOT_FOUND: i64 = -32_601;
const SERVER_NOT_INITIALIZED: i64 = -32_002;

/// How the conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The editor asked for the end first.
    Properly,
    /// It did not.
    Abruptly,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    New,
    Open,
    ShutDown,
}

/// The state of one conversation.
#[derive(Default)]
pub struct Server {
    phase: Phase,
    documents: HashMap<String, Document>,
}

impl Server {
    /// Answers messages until the end.
    pub fn serve(&mut self, from: &mut dyn BufRead, to: &mut dyn Write) -> Result<Ended, TransportError> {
        loop {
            let message = match transport::read(from)? {
                Incoming::Message(message) => message,
                Incoming::Nonsense => {
                    transport::write(to, &failure(&Value::Null, PARSE_ERROR, "this is no JSON"))?;
                    continue;
                }
                Incoming::End => return Ok(self.end()),
            };
            let method = message["method"].as_str().unwrap_or("").to_owned();
            if method == "exit" {
                return Ok(self.end());
            }
            let replies = match message.get("id") {
                Some(_) if method.is_empty() => continue,
                Some(id) => vec![self.request(id, &method, &message["params"])],
                None => self.notification(&method, &message["params"]),
            };
            for reply in replies {
                transport::write(to, &reply)?;
            }
        }
    }

    fn end(&self) -> Ended {
        if self.phase == Phase::ShutDown { Ended::Properly } else { Ended::Abruptly }
    }

    fn request(&mut self, id: &Value, method: &str, parameters: &Value) -> Value {
        match (self.phase, method) {
            (Phase::New, "initialize") => {
                self.phase = Phase::Open;
                return success(id, capabilities());
            }
            (Phase::New, _) => return failure(id, SERVER_NOT_INITIALIZED, "the first request is `initialize`"),
            (Phase::ShutDown, _) => return failure(id, INVALID_REQUEST, "the server is shut down"),
            (Phase::Open, _) => {}
        }
        if method == "shutdown" {
            self.phase = Phase::ShutDown;
            return success(id, Value::Null);
        }
        let answer = match method {
            "textDocument/hover" => answers::hover,
            "textDocument/definition" => answers::definition,
            "textDocument/completion" => answers::completion,
            "textDocument/documentSymbol" => answers::symbols,
            "textDocument/formatting" => answers::formatting,
            _ => return failure(id, METHOD_NOT_FOUND, &format!("there is no method {method}")),
        };
        let document = parameters["textDocument"]["uri"].as_str().and_then(|uri| self.documents.get(uri));
        success(id, document.map_or(Value::Null, |document| answer(document, parameters)))
    }

    fn notification(&mut self, method: &str, parameters: &Value) -> Vec<Value> {
        if self.phase != Phase::Open {
            return Vec::new();
        }
        let text = match method {
            "textDocument/didOpen" => parameters["textDocument"]["text"].as_str(),
            // Changes are sent as whole texts; of several the last one counts.
            "textDocument/didChange" => parameters["contentChanges"]
                .as_array()
                .and_then(|changes| changes.last())
                .and_then(|change| change["text"].as_str()),
            "textDocument/didSave" | "textDocument/didClose" => None,
            _ => return Vec::new(),
        };
        let Some(uri) = parameters["textDocument"]["uri"].as_str() else { return Vec::new() };
        if let Some(text) = text {
            let version = parameters["textDocument"]["version"].as_i64();
            self.documents.insert(uri.to_owned(), Document::new(uri, version, text));
        }
        let closed = (method == "textDocument/didClose").then(|| self.documents.remove(uri)).flatten().is_some();
        let message = match self.documents.get(uri) {
            Some(document) => published(uri, document.version, answers::diagnostics(document)),
            None if closed => published(uri, None, json!([])),
            None => return Vec::new(),
        };
        vec![message]
    }
}

fn published(uri: &str, version: Option<i64>, diagnostics: Value) -> Value {
    let mut parameters = json!({"uri": uri, "diagnostics": diagnostics});
    if let Some(version) = version {
        parameters["version"] = version.into();
    }
    json!({"jsonrpc": "2.0", "method": "textDocument/publishDiagnostics", "params": parameters})
}

fn success(id: &Value, result: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

fn failure(id: &Value, code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}

fn capabilities() -> Value {
    json!({
        "serverInfo": {"name": "bue", "version": env!("CARGO_PKG_VERSION")},
        "capabilities": {
            "positionEncoding": "utf-16",
            "textDocumentSync": {"openClose": true, "change": 1, "save": true},
            "hoverProvider": true,
            "definitionProvider": true,
            "completionProvider": {"triggerCharacters": ["!", "$", "|", "("]},
            "documentSymbolProvider": true,
            "documentFormattingProvider": true,
        },
    })
}
