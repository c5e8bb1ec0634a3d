// Starts `bue lsp` for .bue files and hands the editor's questions to it.

const { workspace } = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

function activate() {
  const command = workspace.getConfiguration("bue").get("path", "bue");
  client = new LanguageClient(
    "bue",
    "bue",
    { command, args: ["lsp"] },
    { documentSelector: [{ language: "bue" }] },
  );
  return client.start();
}

function deactivate() {
  return client?.stop();
}

module.exports = { activate, deactivate };
