// Reads {documents, files} from stdin, and prints what GitHub's language service finds in each document, by its path.
// A called workflow is read from `files`, by its path in whichever repository.
import {readFileSync} from "node:fs";
import {register} from "node:module";
import {TextDocument} from "vscode-languageserver-textdocument";

// The packages are made for a bundler, and import JSON without saying so.
const hook = `export const load = (url, context, next) =>
  next(url, url.endsWith(".json") ? {...context, importAttributes: {type: "json"}} : context);`;
register(`data:text/javascript,${encodeURIComponent(hook)}`);
const {validate} = await import("@actions/languageservice");
const {registerLogger} = await import("@actions/languageservice/log");

const fail = (message) => {
  throw new Error(message);
};
registerLogger({error: fail, warn: fail, info() {}, log() {}, debug() {}});

const {documents, files} = JSON.parse(readFileSync(0, "utf8"));
const fileProvider = {
  getFileContent: async ({path}) => ({name: path, content: files[path] ?? fail(`there is no ${path}`)})
};
const found = {};
for (const [path, text] of Object.entries(documents)) {
  const document = TextDocument.create(`file:///${encodeURI(path)}`, "yaml", 1, text);
  const findings = await validate(document, {fileProvider});
  found[path] = findings.map(({message, range}) => `line ${range.start.line + 1}: ${message}`);
}
console.log(JSON.stringify(found));
