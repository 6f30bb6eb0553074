// Signed requests, made and accepted by the libraries of the providers. See README.md.

import assert from "node:assert";
import crypto from "node:crypto";
import { createRequire } from "node:module";
import { sign, verify } from "@octokit/webhooks-methods";
import { LinearWebhookClient } from "@linear/sdk/webhooks";

const require = createRequire(process.cwd() + "/");
const { verifyKey } = require("discord-interactions");
const { verifyWebhookSignature } = require("@hookdeck/sdk/webhooks/helpers");
require("@shopify/shopify-api/adapters/node");
const { shopifyApi, ApiVersion } = require("@shopify/shopify-api");

const TIME = 1_795_000_000;
const URL = "https://in.example.com/events/source";
const BODY = '{"id":"evt_1","type":"order.paid","name":"Zoë \\u2713","n":[1,2.5]}';
const SECRET = "8f742231b10e8888abcd99yyyzzz85a5";
Date.now = () => TIME * 1000;

const vectors = [];
const add = (scheme, by, secret, headers, signature_header, more = {}) => vectors.push({
  scheme, by, secret, method: "POST", url: URL, public_url: null, now_s: TIME, headers,
  signature_header, time_header: null, body: BODY, ...more,
});
const mac = (content, encoding) => crypto.createHmac("sha256", SECRET).update(content).digest(encoding);

// GitHub; Meta signs in the same way.
const hub = await sign(SECRET, BODY);
assert(await verify(SECRET, BODY, hub));
add("github", "@octokit/webhooks-methods", SECRET, { "x-hub-signature-256": hub }, "x-hub-signature-256");
add("meta", "@octokit/webhooks-methods", `verify-me:${SECRET}`, { "x-hub-signature-256": hub }, "x-hub-signature-256");

// Shopify.
const shopify = shopifyApi({
  apiKey: "key", apiSecretKey: SECRET, scopes: [], hostName: "in.example.com",
  apiVersion: Object.values(ApiVersion)[0], isEmbeddedApp: false, logger: { log: () => {} },
});
const hmac = mac(BODY, "base64");
const rawRequest = {
  method: "POST", url: "/", headers: {
    "X-Shopify-Hmac-Sha256": hmac, "X-Shopify-Topic": "orders/create", "X-Shopify-API-Version": "2024-01",
    "X-Shopify-Shop-Domain": "a.myshopify.com", "X-Shopify-Webhook-Id": "w1",
  },
};
assert((await shopify.webhooks.validate({ rawBody: BODY, rawRequest })).valid);
add("shopify", "formula, @shopify/shopify-api", SECRET,
  { "x-shopify-hmac-sha256": hmac, "x-shopify-webhook-id": "w1" }, "x-shopify-hmac-sha256");

// Linear.
const linear = `{"action":"create","webhookTimestamp":${TIME * 1000},"data":{"id":"i1"}}`;
const signed = mac(linear, "hex");
assert(new LinearWebhookClient(SECRET).verify(Buffer.from(linear), signed));
add("linear", "formula, @linear/sdk", SECRET, { "linear-signature": signed }, "linear-signature", { body: linear });

// Hookdeck, and while a secret takes the place of another.
const current = mac(BODY, "base64");
const other = crypto.createHmac("sha256", "old").update(BODY).digest("base64");
for (const headers of [
  { "x-hookdeck-signature": current },
  { "x-hookdeck-signature": other, "x-hookdeck-signature-2": current },
]) {
  assert((await verifyWebhookSignature({ headers, rawBody: BODY, signingSecret: SECRET })).isValidSignature);
  add("hookdeck", "formula, @hookdeck/sdk", SECRET, headers, Object.keys(headers).at(-1));
}

// Discord.
const seed = Buffer.from([...Array(32).keys()]);
const pkcs8 = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]);
const key = crypto.createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" });
const spki = crypto.createPublicKey(key).export({ format: "der", type: "spki" });
const publicKey = spki.subarray(-32).toString("hex");
const interaction = '{"id":"i1","type":2}';
const ed25519 = crypto.sign(null, Buffer.from(TIME + interaction), key).toString("hex");
assert(await verifyKey(interaction, ed25519, String(TIME), publicKey));
add("discord", "formula, discord-interactions", publicKey,
  { "x-signature-ed25519": ed25519, "x-signature-timestamp": String(TIME) }, "x-signature-ed25519",
  { time_header: "x-signature-timestamp", body: interaction });

console.log(JSON.stringify(vectors, null, 1));
