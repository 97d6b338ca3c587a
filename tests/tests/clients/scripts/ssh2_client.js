// ssh2 for Node.js: every cell on a connection of its own.
'use strict';

const assert = require('node:assert');
const fs = require('node:fs');
const { Client, utils } = require('ssh2');

const { BASTION_FORM: FORM, BASTION_VM: VM, BASTION_PORT } = process.env;
const privateKey = fs.readFileSync('keys/olga');
const LONG_ROOM = 128 * 1024 - 1 - "x=''; echo ${#x}".length;
const LOAD = Buffer.alloc(48 << 20);
for (let at = 0; at < LOAD.length; at += 1) LOAD[at] = at % 253;

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

function connected(options) {
  return new Promise((done, failed) => {
    const client = new Client();
    client.on('ready', () => done(client)).on('error', failed);
    client.connect({ privateKey, readyTimeout: 30000, ...options });
  });
}

const called = (object, method, ...words) => new Promise((done, failed) => {
  object[method](...words, (error, result) => (error ? failed(error) : done(result)));
});

// A connection to the VM, in the form that is tried.
async function withConnection(options, work) {
  let outer = null;
  let it;
  const gateway = { host: '127.0.0.1', port: Number(BASTION_PORT) };
  if (FORM === 'plus') {
    it = await connected({ ...gateway, username: `ops+${VM}`, ...options });
  } else {
    outer = await connected({ ...gateway, username: 'olga' });
    const sock = await called(outer, 'forwardOut', '127.0.0.1', 0, VM, 22);
    it = await connected({ sock, username: 'ops', ...options });
  }
  try {
    return await work(it);
  } finally {
    it.end();
    if (outer) outer.end();
  }
}

// What a channel gives until it is over.
function finished(stream) {
  return new Promise((done) => {
    const [out, err] = [[], []];
    let [status, signal] = [null, null];
    stream.on('data', (piece) => out.push(piece));
    stream.stderr.on('data', (piece) => err.push(piece));
    stream.on('exit', (code, name) => { [status, signal] = [code, name || null]; });
    stream.on('close', () => done({
      out: Buffer.concat(out), err: String(Buffer.concat(err)), status, signal,
    }));
  });
}

async function ran(it, command, sent, options = {}) {
  const stream = await called(it, 'exec', command, options);
  const done = finished(stream);
  stream.end(sent);
  return done;
}

async function until(stream, what) {
  let seen = '';
  for (;;) {
    const piece = stream.read();
    if (piece) seen += piece;
    if (seen.includes(what)) return seen;
    if (!piece) await Promise.race([new Promise((more) => stream.once('readable', more)), sleep(200)]);
  }
}

async function load(it) {
  const { out, status } = await ran(it, 'cat', LOAD);
  assert(out.equals(LOAD), `${out.length} of ${LOAD.length} bytes came back, or others`);
  assert.equal(status, 0);
}

const CELLS = {
  exec: async (it) => {
    for (const status of [0, 7, 255]) {
      const said = await ran(it, `echo here; exit ${status}`);
      assert.deepEqual([String(said.out), said.status], ['here\n', status]);
    }
  },

  shell: async (it) => {
    const stream = await called(it, 'shell', false);
    const done = finished(stream);
    stream.end('echo $((6 * 7))\nexit 5\n');
    const { out, status } = await done;
    assert.deepEqual([String(out), status], ['42\n', 5]);
  },

  terminal: async (it) => {
    const window = { term: 'vt220', cols: 101, rows: 33, modes: { VINTR: 7 } };
    const stream = await called(it, 'shell', window);
    stream.write("stty size; stty -a; echo 'te''rm' $TERM\n");
    const seen = await until(stream, 'term vt220');
    assert(seen.includes('33 101') && seen.includes('intr = ^G'), seen);
    stream.setWindow(44, 132, 0, 0);
    await sleep(300);
    stream.write('stty size\n');
    await until(stream, '44 132');
    const done = finished(stream);
    stream.write('exit 5\n');
    assert.equal((await done).status, 5);
  },

  subsystem: async (it) => {
    const stream = await called(it, 'subsys', 'sftp');
    stream.write(Buffer.from([0, 0, 0, 5, 1, 0, 0, 0, 3]));
    const answer = await new Promise((done) => stream.once('data', done));
    assert.deepEqual([...answer.subarray(4, 9)], [2, 0, 0, 0, 3]);
    await assert.rejects(called(it, 'subsys', 'netconf'));
  },

  env: async (it) => {
    const env = { LC_BASTION: 'sent', LD_PRELOAD: 'kept', SECRET: 'kept' };
    const { out } = await ran(it, 'echo [$LC_BASTION] [$LD_PRELOAD] [$SECRET]', '', { env });
    assert.equal(String(out), '[sent] [] []\n');
  },

  signal: async (it) => {
    const line = "trap 'echo got USR1; exit 9' USR1; echo ready; while :; do sleep 0.05; done";
    const stream = await called(it, 'exec', line);
    await until(stream, 'ready');
    const done = finished(stream);
    stream.signal('USR1');
    const { out, status } = await done;
    assert.deepEqual([String(out).trim(), status], ['got USR1', 9]);
  },

  'exit-signal': async (it) => {
    for (const name of ['TERM', 'KILL']) {
      assert.equal((await ran(it, `kill -${name} $$`)).signal, `SIG${name}`);
    }
  },

  stderr: async (it) => {
    const { out, err, status } = await ran(it, 'echo out; echo err >&2; exit 2');
    assert.deepEqual([String(out), err, status], ['out\n', 'err\n', 2]);
  },

  'half-close': async (it) => {
    const counted = await ran(it, 'wc -c; sleep 0.3; echo done; exit 4', Buffer.alloc(100000));
    assert.deepEqual([String(counted.out), counted.status], ['100000\ndone\n', 4]);
    const stream = await called(it, 'exec', 'exec >&- 2>&-; cat > late; exit 6');
    const done = finished(stream);
    stream.write('early ');
    await sleep(600);
    stream.end('late');
    assert.equal((await done).status, 6);
    assert.equal(String((await ran(it, 'cat late')).out), 'early late');
  },

  bytes: async (it) => {
    // Commands are text to this client; paths of sftp may be bytes.
    const command = "printf 'caf\\351' > $(printf 'p\\351\\377'); ls -N p*; cat p*; rm p*";
    const { out, status } = await ran(it, command);
    assert(out.includes(Buffer.from('p\xe9\xff\n', 'latin1')), String(out));
    assert.equal(status, 0);
  },

  'long-command': async (it) => {
    const { out, status } = await ran(it, `x='${'y'.repeat(LONG_ROOM)}'; echo \${#x}`);
    assert.deepEqual([String(out), status], [`${LONG_ROOM}\n`, 0]);
  },

  channels: async (it) => {
    const opened = [];
    for (let number = 0; number < 64; number += 1) {
      const line = `echo up; read line; echo $line; exit ${number}`;
      opened.push(called(it, 'exec', line).then(async (stream) => {
        await until(stream, 'up\n');
        return stream;
      }));
    }
    const streams = await Promise.all(opened);
    const done = streams.map(finished);
    streams.forEach((stream, number) => stream.write(`line ${number}\n`));
    (await Promise.all(done)).forEach(({ out, status }, number) => {
      assert.deepEqual([String(out), status], [`line ${number}\n`, number]);
    });
  },

  'our-rekey': load,

  keepalive: async (it) => {
    assert.equal((await ran(it, 'sleep 7; exit 3')).status, 3);
  },

  sftp: async (it) => {
    const sftp = await called(it, 'sftp');
    const data = LOAD.subarray(0, 3000000);
    await called(sftp, 'writeFile', 'ssh2.bin', data);
    assert((await called(sftp, 'readFile', 'ssh2.bin')).equals(data));
    await called(sftp, 'rename', 'ssh2.bin', 'ssh2.moved');
    assert.equal((await called(sftp, 'stat', 'ssh2.moved')).size, data.length);
    await called(sftp, 'unlink', 'ssh2.moved');
    await assert.rejects(called(sftp, 'stat', 'no-such-file'), { code: utils.sftp.STATUS_CODE.NO_SUCH_FILE });
  },

  empty: async (it) => {
    const { out, status } = await ran(it, 'cat', '');
    assert.deepEqual([out.length, status], [0, 0]);
    const sftp = await called(it, 'sftp');
    await called(sftp, 'writeFile', 'empty.bin', '');
    assert.equal((await called(sftp, 'readFile', 'empty.bin')).length, 0);
  },
};

const OPTIONS = { keepalive: { keepaliveInterval: 1000, keepaliveCountMax: 2 } };

async function main() {
  for (const name of process.argv.slice(2)) {
    const began = Date.now();
    try {
      const late = sleep(60000).then(() => { throw new Error('not done in 60 s'); });
      await Promise.race([withConnection(OPTIONS[name] || {}, CELLS[name]), late]);
      console.log(`ok ${name} ${Date.now() - began} ms`);
    } catch (error) {
      console.log(`failed ${name}: ${String(error.stack).replaceAll('\n', ' | ')}`);
    }
  }
  process.exit(0);
}

main();
