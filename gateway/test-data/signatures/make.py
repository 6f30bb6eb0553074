"""Signed requests, made and accepted by the libraries of the providers. See README.md."""

import base64
import datetime
import hashlib
import hmac
import json
import urllib.parse

import convoy.utils.webhook
import hook0.signature
import hubspot.utils.signature
import nacl.signing
import sendgrid.helpers.eventwebhook
import slack_sdk.signature
import square.utils.webhooks_helper
import standardwebhooks
import stripe
import svix
import twilio.request_validator
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

TIME = 1_795_000_000
URL = "https://in.example.com/events/source"
BODY = '{"id":"evt_1","type":"order.paid","name":"Zoë \\u2713","n":[1,2.5]}'
SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

vectors = []


def add(scheme, by, secret, headers, signature, body=BODY, time=None, url=URL, public_url=None):
    vectors.append({
        "scheme": scheme, "by": by, "secret": secret, "method": "POST", "url": url,
        "public_url": public_url, "now_s": TIME, "headers": headers,
        "signature_header": signature, "time_header": time, "body": body,
    })


def mac(key, content, encode):
    digest = hmac.new(key.encode(), content.encode(), hashlib.sha256).digest()
    return encode(digest)


def b64(data):
    return base64.b64encode(data).decode()


# Standard Webhooks, Svix, GitLab.
now = datetime.datetime.fromtimestamp(TIME, tz=datetime.timezone.utc)
signed = standardwebhooks.Webhook(WHSEC).sign("msg_1", now, BODY)
standard = {"webhook-id": "msg_1", "webhook-timestamp": str(TIME), "webhook-signature": signed}
add("standard-webhooks", "standardwebhooks", WHSEC, standard, "webhook-signature", time="webhook-timestamp")
add("gitlab", "standardwebhooks", WHSEC, standard, "webhook-signature", time="webhook-timestamp")
signed = svix.Webhook(WHSEC).sign("msg_1", now, BODY)
headers = {"svix-id": "msg_1", "svix-timestamp": str(TIME), "svix-signature": signed}
add("standard-webhooks", "svix", WHSEC, headers, "svix-signature", time="svix-timestamp")
pair = nacl.signing.SigningKey(bytes(range(32)))
signed = "v1a," + b64(pair.sign(f"msg_1.{TIME}.{BODY}".encode()).signature)
headers = {"webhook-id": "msg_1", "webhook-timestamp": str(TIME), "webhook-signature": signed}
public = "whpk_" + b64(bytes(pair.verify_key))
add("standard-webhooks", "formula, PyNaCl", public, headers, "webhook-signature", time="webhook-timestamp")
add("gitlab", "formula", SECRET, {"x-gitlab-token": SECRET}, "x-gitlab-token")

# Stripe.
signed = stripe.WebhookSignature.generate_signature_header(BODY, WHSEC, TIME)
assert stripe.WebhookSignature.verify_header(BODY, signed, WHSEC)
add("stripe", "stripe", WHSEC, {"stripe-signature": signed}, "stripe-signature", time="stripe-signature")

# Slack.
signed = slack_sdk.signature.SignatureVerifier(SECRET).generate_signature(timestamp=str(TIME), body=BODY)
headers = {"x-slack-request-timestamp": str(TIME), "x-slack-signature": signed}
add("slack", "slack_sdk", SECRET, headers, "x-slack-signature", time="x-slack-request-timestamp")

# Twilio: a form, JSON, a port, the new algorithm.
validator = twilio.request_validator.RequestValidator(SECRET)
fields = {"To": "+15005550006", "Body": "Zoë & more = fun", "From": "+15005550001", "AccountSid": "AC1"}
form = urllib.parse.urlencode(fields)
kind = {"content-type": "application/x-www-form-urlencoded"}


def twilio_vector(url, public_url, params, body, kind, algorithm=None):
    signed = validator.compute_signature(url, params, algorithm)
    assert validator.validate(url, body if params == {} else params, signed, algorithm)
    headers = {"x-twilio-signature": signed, **kind}
    add("twilio", "twilio", SECRET, headers, "x-twilio-signature", body=body, url=url, public_url=public_url)


twilio_vector(URL, URL, fields, form, kind)
twilio_vector(URL + "?tenant=7", URL, fields, form, kind)
twilio_vector("https://in.example.com:443/events/source", URL, fields, form, kind)
twilio_vector(URL, URL, fields, form, kind, "HMAC_SHA256")
digest = hashlib.sha256(BODY.encode()).hexdigest()
twilio_vector(f"{URL}?bodySHA256={digest}", URL, {}, BODY, {"content-type": "application/json"})

# Square.
signed = mac(SECRET, URL + BODY, b64)
assert square.utils.webhooks_helper.verify_signature(
    request_body=BODY, signature_header=signed, signature_key=SECRET, notification_url=URL)
add("square", "formula, squareup", SECRET, {"x-square-hmacsha256-signature": signed},
    "x-square-hmacsha256-signature", public_url=URL)

# HubSpot.
make = hubspot.utils.signature.Signature.get_signature
headers = {"x-hubspot-signature": make(SECRET, BODY, "v1")}
add("hubspot-v1", "hubspot-api-client", SECRET, headers, "x-hubspot-signature")
headers = {"x-hubspot-signature": make(SECRET, BODY, "v2", URL, "POST")}
add("hubspot-v2", "hubspot-api-client", SECRET, headers, "x-hubspot-signature", public_url=URL)
for sent, seen in [(URL, URL), (URL + "?a=%3A%2F&b=%20", URL + "?a=:/&b=%20")]:
    time = str(TIME * 1000)
    headers = {"x-hubspot-signature-v3": make(SECRET, BODY, "v3", seen, "POST", time),
               "x-hubspot-request-timestamp": time}
    add("hubspot", "hubspot-api-client", SECRET, headers, "x-hubspot-signature-v3",
        time="x-hubspot-request-timestamp", url=sent, public_url=URL)

# SendGrid.
key = ec.derive_private_key(0x1234567890ABCDEF, ec.SECP256R1())
public = b64(key.public_key().public_bytes(
    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))
events = '[{"email":"a@example.com","event":"open"}]\r\n'
signed = b64(key.sign((str(TIME) + events).encode(), ec.ECDSA(hashes.SHA256())))
assert sendgrid.helpers.eventwebhook.EventWebhook(public).verify_signature(events, signed, str(TIME))
headers = {"x-twilio-email-event-webhook-signature": signed,
           "x-twilio-email-event-webhook-timestamp": str(TIME)}
add("sendgrid", "formula, sendgrid", public, headers, "x-twilio-email-event-webhook-signature",
    body=events, time="x-twilio-email-event-webhook-timestamp")

# Convoy.
simple = convoy.utils.webhook.Webhook(SECRET)
signed = simple.create_signature(BODY)
assert simple.verify_signature(BODY, signed) is True
add("convoy", "convoy-python", SECRET, {"x-convoy-signature": signed}, "x-convoy-signature")
signed = f"t={TIME},v1=" + mac(SECRET, f"{TIME},{BODY}", bytes.hex)
add("convoy", "formula", SECRET, {"x-convoy-signature": signed}, "x-convoy-signature", time="x-convoy-signature")

# Hook0.
for scheme, headers, content in [
    (f"v0={{}}", {}, f"{TIME}.{BODY}"),
    ("h=x-event-id x-event-type,v1={}", {"x-event-id": "e1", "x-event-type": "a.b.c"},
     f"{TIME}.x-event-id x-event-type.e1.a.b.c.{BODY}"),
]:
    signed = f"t={TIME}," + scheme.format(mac(SECRET, content, bytes.hex))
    assert hook0.signature.verify_webhook_signature_with_current_time(
        signed, BODY.encode(), headers, SECRET, 300, now)
    headers = {"x-hook0-signature": signed, **headers}
    add("hook0", "formula, hook0-client", SECRET, headers, "x-hook0-signature", time="x-hook0-signature")

# Without a library.
headers = {"x-zm-request-timestamp": str(TIME), "x-zm-signature": "v0=" + mac(SECRET, f"v0:{TIME}:{BODY}", bytes.hex)}
add("zoom", "formula", SECRET, headers, "x-zm-signature", time="x-zm-request-timestamp")
headers = {"x-twitter-webhooks-signature": "sha256=" + mac(SECRET, BODY, b64)}
add("x", "formula", SECRET, headers, "x-twitter-webhooks-signature")
headers = {"x-outpost-signature": "v0=" + mac(SECRET, BODY, bytes.hex)}
add("outpost", "formula", SECRET, headers, "x-outpost-signature")

print(json.dumps(vectors, indent=1, ensure_ascii=False))
