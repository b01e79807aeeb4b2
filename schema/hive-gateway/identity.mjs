// What Hive Gateway needs to call the bank's subgraphs: a plugin that finds out whom the client's access token speaks for,
// and states it, signed, with each call (adr/0028). Nothing but Node's own libraries.
import { createHash, createPrivateKey, randomUUID, sign } from "node:crypto";

/** PKCS #8 of an Ed25519 key, up to its 32 secret bytes. */
const PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex");

/** For how long an identity is taken for the truth, in milliseconds. */
const FRESH = 1_000;
const KEPT = 10_000;

/** How often it is asked again for whoever listens to a subscription, in milliseconds. */
const LOOK = 10_000;

const base64url = (value) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");

/** Signs statements about callers with the gateway's name and key (32 secret bytes in base64). */
export function signer(name, secret) {
  const key = createPrivateKey({ key: Buffer.concat([PKCS8, Buffer.from(secret, "base64")]), format: "der", type: "pkcs8" });
  const header = base64url({ alg: "EdDSA", typ: "vostro-caller+jwt", kid: name });
  return (audience, body, { person, correlationId, waitMs }) => {
    const now = Math.floor(Date.now() / 1_000);
    const claims = {
      aud: audience,
      iat: now,
      exp: now + 30,
      body: createHash("sha256").update(body).digest("base64url"),
      cid: correlationId,
      wait_ms: waitMs,
      ...(person && { sub: person.userId, sid: person.sessionId, roles: person.roles }),
    };
    const text = `${header}.${base64url(claims)}`;
    return `${text}.${sign(null, Buffer.from(text), key).toString("base64url")}`;
  };
}

/** Asks the process with the auth module whom a token speaks for. */
function identities(signed, auth) {
  const known = new Map();
  return async (token) => {
    const before = known.get(token);
    if (before && Date.now() - before.asked < FRESH) return before.identity;
    if (known.size > KEPT) known.clear();
    const body = JSON.stringify({ token });
    const statement = signed("identity", body, { correlationId: randomUUID(), waitMs: 5_000 });
    const headers = { "content-type": "application/json", "x-vostro-caller": statement };
    const response = await fetch(new URL("/federation/identity", auth), { method: "POST", headers, body });
    if (!response.ok) throw new Error(`whom a token speaks for cannot be asked: ${response.status}`);
    const identity = await response.json();
    known.set(token, { asked: Date.now(), identity });
    return identity;
  };
}

/** The events of a subscription as long as the access token it was opened with counts; then one that says so, and no more. */
function asLongAsItCounts(events, bearer, identify, onUnauthenticated) {
  const iterator = events[Symbol.asyncIterator]();
  let last;
  const looking = setInterval(async () => {
    // As long as nobody can be asked nothing is known against it.
    const identity = await identify(bearer).catch(() => undefined);
    if (!identity?.fault) return;
    clearInterval(looking);
    last = { done: false, value: { errors: [onUnauthenticated(identity.fault)] } };
    await iterator.return?.();
  }, LOOK);
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      let next = await iterator.next();
      if (next.done) {
        clearInterval(looking);
        [next, last] = [last ?? next, undefined];
      }
      return next;
    },
    async return(value) {
      clearInterval(looking);
      await iterator.return?.();
      return { done: true, value };
    },
  };
}

const bearerOf = (headers) => headers?.authorization?.match(/^bearer (.+)$/i)?.[1];

/**
 * The plugin. `auth` is the base address of the process with the auth module.
 * A call that is not for a subgraph of the bank is left alone.
 */
export function useVostro({ name, secret, auth, waitMs = 8_000, onUnauthenticated }) {
  const signed = signer(name, secret);
  const identify = identities(signed, auth);
  return {
    onSubscribe({ args }) {
      const bearer = bearerOf(args.contextValue?.headers);
      if (!bearer) return;
      return {
        onSubscribeResult({ result, setResult }) {
          if (Symbol.asyncIterator in result) setResult(asLongAsItCounts(result, bearer, identify, onUnauthenticated));
        },
      };
    },
    onFetch({ url, options, setFetchFn, fetchFn, executionRequest, context }) {
      const subgraph = new URL(url).pathname.match(/^\/subgraph\/([a-z]+)$/)?.[1];
      if (!subgraph) return;
      const headers = (context ?? executionRequest?.context)?.headers ?? {};
      const bearer = bearerOf(headers);
      setFetchFn(async (to, init, ...rest) => {
        const identity = bearer && (await identify(bearer));
        if (identity?.fault) throw onUnauthenticated(identity.fault);
        const correlationId = headers["x-correlation-id"] ?? randomUUID();
        const statement = signed(subgraph, init.body, { person: identity?.principal, correlationId, waitMs });
        return fetchFn(to, { ...init, headers: { ...init.headers, "x-vostro-caller": statement } }, ...rest);
      });
    },
  };
}
