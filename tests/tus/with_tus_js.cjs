// node with_tus_js.cjs '{"modules", "file", "endpoint", "headers", "metadata", "tls"}': upload as a script of tus-js-client does.
const fs = require("fs");
const given = JSON.parse(process.argv[2]);
const tus = require(`${given.modules}/tus-js-client`);
const pem = Object.fromEntries(Object.entries(given.tls).map(([name, path]) => [name, fs.readFileSync(path)]));
const lookup = (name, options, done) =>
  options.all ? done(null, [{ address: "127.0.0.1", family: 4 }]) : done(null, "127.0.0.1", 4);

new tus.Upload(fs.createReadStream(given.file), {
  endpoint: given.endpoint,
  headers: given.headers,
  metadata: given.metadata,
  uploadSize: fs.statSync(given.file).size,
  retryDelays: Array(40).fill(250),
  httpStack: new tus.DefaultHttpStack({ ...pem, lookup }),
  onError: (error) => {
    console.error(String(error));
    process.exit(1);
  },
  onSuccess: () => process.exit(0),
}).start();
