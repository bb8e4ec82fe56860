// SPDX-License-Identifier: GPL-2.0-only
// Perfetto's own trace processor, the WebAssembly that its web page runs, as a filter: requests
// (a TraceProcessorRpcStream) from stdin, answers to stdout. Usage: node trace_processor.cjs FOLDER
// with engine_bundle.js and trace_processor*.wasm. The bundle is a web worker's script: it is given
// what a worker has, and a port to talk over.
"use strict";
const fs = require("fs");
const path = require("path");
const vm = require("vm");

const folder = process.argv[2];
const fail = (error) => { process.stderr.write(`${(error && error.stack) || error}\n`); process.exit(1); };
process.on("unhandledRejection", fail);

class FileRequest {
  open(method, url) { this.url = url; }
  send() {
    const bytes = fs.readFileSync(path.join(folder, path.basename(this.url)));
    this.response = new Uint8Array(bytes).buffer;
    this.status = 200;
    if (this.onload) this.onload();
  }
}

const log = (text) => process.stderr.write(`${text}\n`);
const self = { location: { href: "file:///engine_bundle.js" } };
const worker = {
  self, WorkerGlobalScope: class {}, importScripts() {}, XMLHttpRequest: FileRequest,
  console: { log, warn: log, error: log }, WebAssembly, TextDecoder, TextEncoder, URL,
  performance, crypto: globalThis.crypto, setTimeout, clearTimeout,
  Error, TypeError, ArrayBuffer, Uint8Array, Int8Array, Int16Array, Uint16Array, Int32Array,
  Uint32Array, Float32Array, Float64Array, BigInt64Array, BigUint64Array,
};
worker.globalThis = worker;
vm.runInNewContext(fs.readFileSync(path.join(folder, "engine_bundle.js"), "utf8"), worker);

const write = (data) => {
  for (let at = 0; at < data.length;) at += fs.writeSync(1, data, at);
};
const port = { postMessage: (data) => write(Buffer.from(data)) };
self.onmessage({ data: port });
const requests = new Uint8Array(fs.readFileSync(0));
const deadline = Date.now() + 60_000;
const ask = () => {
  try {
    port.onmessage({ data: requests });
  } catch (error) {
    // Until the module is there its memory is not.
    if (!/HEAPU8|undefined|null/.test(String(error)) || Date.now() > deadline) fail(error);
    else setTimeout(ask, 50);
  }
};
setTimeout(ask, 50);
