// Loaded into Node programs by `portcullis run`: plain HTTP goes to the sidecar, as http_proxy asks.
// Newer versions of Node do this by themselves (NODE_USE_ENV_PROXY); then nothing is changed here.
'use strict';

const [major, minor] = process.versions.node.split('.').map(Number);
const native = major > 24 || (major === 24 && minor >= 5) || (major === 22 && minor >= 21);
const outbound = process.env.PORTCULLIS_OUTBOUND;

if (outbound && !native) {
  const net = require('node:net');
  const http = require('node:http');
  const sidecar = new URL(outbound);
  const direct = (process.env.no_proxy || '').split(',').map((name) => name.trim().toLowerCase());
  const isDirect = (host) => {
    const name = String(host || 'localhost').toLowerCase().replace(/^\[|\]$/g, '');
    return net.isIP(name) !== 0 && name.startsWith('127.') || direct.some((entry) =>
      entry === '*' || entry === name || (entry.startsWith('.') && name.endsWith(entry)));
  };
  const dial = (callback) => net.connect({
    host: sidecar.hostname, port: Number(sidecar.port), noDelay: true,
  }, callback);

  // http.request and http.get. The Host header still names the service, which is all the sidecar needs.
  const connect = http.Agent.prototype.createConnection;
  http.Agent.prototype.createConnection = function (options, callback) {
    const plain = (options.protocol || this.protocol || 'http:') === 'http:' && !options.socketPath;
    return plain && !isDirect(options.host) ? dial() : connect.call(this, options, callback);
  };

  // fetch. Its agent can be had from the dispatcher that exists once a Response has been made.
  const key = Symbol.for('undici.globalDispatcher.1');
  if (typeof Response === 'function') {
    new Response();
    const Agent = globalThis[key] && globalThis[key].constructor;
    if (Agent) {
      const before = globalThis[key];
      const through = new Agent({
        connect: (options, callback) => {
          const socket = dial();
          socket.once('connect', () => callback(null, socket)).once('error', callback);
          return socket;
        },
      });
      const dispatch = before.dispatch.bind(before);
      before.dispatch = (options, handler) => {
        const origin = new URL(String(options.origin));
        return origin.protocol === 'http:' && !isDirect(origin.hostname)
          ? through.dispatch(options, handler)
          : dispatch(options, handler);
      };
    }
  }
}
