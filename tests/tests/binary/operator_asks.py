"""GraphQL as a client that is not ours speaks it: `gql`, with its own checks against the schema.

Arguments: the server's URL, and the file of a key. Prints `ready` once it listens, and ends with 0
when the event that is stored then has come.
"""

import asyncio
import json
import sys

import websockets
from gql import Client, gql
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.exceptions import TransportQueryError
from gql.transport.websockets import WebsocketsTransport

URL, KEY = sys.argv[1], open(sys.argv[2]).read().strip()

QUESTIONS = """
query Everything($event: ID!) {
  version
  events(first: 5, filter: {typePrefix: "github/"}) {
    nodes { id type state payload payloadBase64 trail deliveries { state attempts { status } } }
    pageInfo { hasNextPage endCursor }
  }
  event(id: $event) { id headers { name } }
  quarantine { nodes { id } }
  deliveries(first: 5) { nodes { id state event { id } subscription { name } } }
  deadLetters { nodes { id } }
  subscriptions { name status events }
  subscribers { id }
  sources { name verify }
  eventTypes { uri }
  backoffs { target }
  schemas { uri version }
  keys { name roles }
  stats { accepted }
  stateAt { sequence subscriptions { name } }
  history(kind: "subscription", name: "ci") { kind actor differences { path } }
  why(event: $event, subscription: "ci") { verdict rules { rule fact passed text } }
}
"""


async def refused(session, query, code):
    try:
        await session.execute(gql(query))
    except TransportQueryError as error:
        found = error.errors[0]["extensions"]["code"]
        assert found == code, f"{found} instead of {code}"
        return
    raise AssertionError(f"{query} was answered")


async def ask():
    headers = {"authorization": f"Bearer {KEY}"}
    transport = AIOHTTPTransport(url=f"{URL}/api/graphql", headers=headers)
    # gql checks every query against the schema that the server describes.
    async with Client(transport=transport, fetch_schema_from_transport=True) as session:
        newest = await session.execute(gql("{ events(first: 1) { nodes { id } } }"))
        event = newest["events"]["nodes"][0]["id"]
        query = gql(QUESTIONS)
        query.variable_values = {"event": event}
        found = await session.execute(query)
        assert found["event"]["id"] == event
        assert found["why"]["verdict"] in ("waiting", "delivered", "dead"), found["why"]
        assert found["history"][0]["kind"] == "subscription_created"
        assert found["stats"]["accepted"] >= 1
        put = 'mutation { putSubscriber(id: "org_9", name: "Nine") { id name } }'
        made = await session.execute(gql(put))
        assert made["putSubscriber"] == {"id": "org_9", "name": "Nine"}
        nested = "events(first: 500) { nodes { deliveries { attempts { number } } } }"
        await refused(session, "{ " + nested + " again: " + nested + "}", "invalid_request")
        await refused(session, '{ event(id: "nonsense") { id } }', "invalid_request")


async def listen():
    transport = WebsocketsTransport(
        url=f"{URL.replace('http', 'ws', 1)}/api/graphql",
        init_payload={"authorization": f"Bearer {KEY}"},
        subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
    )
    async with Client(transport=transport) as session:
        stats = session.subscribe(gql("subscription { stats { accepted } }"))
        # The numbers come at once: the connection is up, and the next one is on its way.
        async for first in stats:
            before = first["stats"]["accepted"]
            print("ready", flush=True)
            break
        async for later in session.subscribe(gql("subscription { stats { accepted } }")):
            if later["stats"]["accepted"] > before:
                return


async def closes():
    """How the server says why it closes a WebSocket: the codes of graphql-transport-ws."""
    address = f"{URL.replace('http', 'ws', 1)}/api/graphql"
    begin = {"type": "connection_init", "payload": {"key": KEY}}
    stats = {"type": "subscribe", "id": "1", "payload": {"query": "subscription { stats { dead } }"}}
    wrong = {"type": "connection_init", "payload": {"key": "certes_" + "ä" * 300}}
    cases = [
        (4400, ["no JSON"]),
        (4400, [{"type": "n" * 1000}]),
        (4400, [begin, {"type": "connection_terminate"}]),
        (4401, [stats]),
        (4403, [{"type": "connection_init"}]),
        (4403, [wrong]),
        (4408, []),
        (4409, [begin, stats, stats]),
        (4409, [begin] + [{**stats, "id": "ä" * 200}] * 2),
        (4429, [begin, begin]),
    ]

    async def closed(code, messages, protocol="graphql-transport-ws"):
        async with websockets.connect(address, subprotocols=[protocol]) as socket:
            for message in messages:
                text = message if isinstance(message, str) else json.dumps(message)
                await socket.send(text)
            try:
                while True:
                    await socket.recv()
            except websockets.ConnectionClosed as end:
                found = end.rcvd
        assert found is not None and found.code == code, f"{messages}: {found} instead of {code}"
        assert len(found.reason.encode()) <= 123, found.reason

    await asyncio.gather(
        *(closed(code, messages) for code, messages in cases), closed(4406, [], "graphql-ws")
    )


async def main():
    await ask()
    # The slowest is closed after 10 s.
    await asyncio.wait_for(asyncio.gather(listen(), closes()), 60)


asyncio.run(main())
