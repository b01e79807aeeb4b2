import { bodyOf, type Operation } from "./body.js";
import { Document } from "./document.js";
import { ConnectionError, FaultError, accepted, type Fault } from "./errors.js";
import { serverSentEvents } from "./event-stream.js";
import { LogInDocument, LogOutDocument, RefreshTokenDocument, type LoginInput } from "./generated/customer.js";
import { idOf } from "./manifest.js";
import { growing, pause } from "./pause.js";
import { Session, type Tokens } from "./session.js";

export interface ClientOptions {
  /** Where the API is, such as `https://bank.example/graphql`. */
  url: string | URL;
  /** Tokens of an earlier login. */
  tokens?: Tokens;
  /** Hears of every new pair of tokens, to keep them, and of `undefined` when nobody is logged in any more. */
  onTokens?: (tokens: Tokens | undefined) => void;
  /** How often what may be repeated is repeated when it failed for a reason that passes. 4 when absent. */
  retries?: number;
  /** How long one attempt may take, in milliseconds. 15,000 when absent; the bank itself gives up after 10,000. */
  timeoutMs?: number;
  /** Instead of the global `fetch`. */
  fetch?: typeof globalThis.fetch;
  /**
   * What your program is called. A bank that knows it by this name (`graphql.known_clients`, or the documents it registered)
   * gives it a share of its caller's points. It proves nothing, and gives no rights.
   */
  clientName?: string;
  /** Which version of your program this is. Not without a name. */
  clientVersion?: string;
  /**
   * Whether operations are sent as texts, or as ids of documents that are registered at the bank. `text` when absent. With
   * `id` no text is sent whatever the bank answers: `PERSISTED_DOCUMENT_NOT_FOUND` means that a manifest was not imported.
   */
  documents?: "text" | "id";
}

/** What an operation is in messages of `graphql-transport-ws`: the payload of `subscribe`. */
export interface SocketOperation {
  /** Empty where there is an id: clients of that protocol insist on a text. */
  query: string;
  documentId?: string;
  operationName: string;
  variables: Record<string, unknown>;
}

export interface RequestOptions {
  signal?: AbortSignal;
}

export interface SubscribeOptions<Result, Variables> extends RequestOptions {
  /**
   * The variables to go on with after the connection was lost, from the last event. When absent, an operation with a
   * variable `$after` goes on behind the `cursor` of the last event, and any other begins with a snapshot again.
   */
  resume?: (last: Result, variables: Variables) => Variables;
}

interface Answer {
  data?: unknown;
  errors?: Fault[];
}

/** The variables of an operation; those without any may be left out. */
export type Arguments<Variables, Options> = Record<string, never> extends Variables
  ? [variables?: Variables, options?: Options]
  : [variables: Variables, options?: Options];

const LONGEST_PAUSE = 10_000;
const JSON_ANSWER = "application/graphql-response+json, application/json;q=0.9";

/** A client of one bank for one person. It has no state but the session, and opens connections as `fetch` does. */
export class Client {
  readonly #url: string;
  readonly #fetch: typeof globalThis.fetch;
  readonly #session: Session;
  readonly #retries: number;
  readonly #timeout: number;
  readonly #documents: "text" | "id";
  readonly #program: Readonly<Record<string, string>>;

  /** @throws {TypeError} when the program's name or version cannot be sent. */
  constructor(options: ClientOptions) {
    this.#url = new URL(options.url).href;
    this.#fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
    this.#retries = options.retries ?? 4;
    this.#timeout = options.timeoutMs ?? 15_000;
    this.#documents = options.documents ?? "text";
    this.#program = namesOf(options);
    const exchange = (refreshToken: string) => this.#exchange(refreshToken);
    this.#session = new Session(options.tokens, exchange, (tokens) => options.onTokens?.(tokens));
  }

  /** The tokens of who is logged in. */
  get tokens(): Tokens | undefined {
    return this.#session.tokens;
  }

  /**
   * What a client over WebSocket says first, as the payload of `connection_init`: the token of who is logged in, renewed
   * before it expires, and what your program is called. Meant for graphql-ws, which asks for it with each connection:
   * `createClient({ url, connectionParams: () => client.connectionParams() })`.
   *
   * @throws {RefusedError} when the session is over.
   * @throws {ConnectionError} when a token has to be renewed and nobody answers.
   */
  async connectionParams(): Promise<Record<string, string>> {
    const token = await this.#session.accessToken();
    return { ...this.#program, ...(token ? { authorization: `Bearer ${token}` } : {}) };
  }

  /**
   * Logs in; requests from now on are this person's.
   *
   * @throws {RefusedError} when e-mail address or password are wrong.
   */
  async logIn(input: LoginInput): Promise<Tokens> {
    const { login } = await this.request(LogInDocument, { input });
    const { tokens } = accepted(login);
    if (!tokens) throw new ConnectionError("The bank accepted the login and sent no tokens.");
    this.#session.tokens = tokens;
    return tokens;
  }

  /** Ends the session, here and at the bank. */
  async logOut(): Promise<void> {
    if (!this.#session.tokens) return;
    await this.request(LogOutDocument);
    this.#session.tokens = undefined;
  }

  /**
   * Asks a query or gives a command, and returns its data.
   *
   * What failed for a reason that passes is repeated: queries, and commands with an idempotency key. Without one a
   * command is sent once, because nobody could tell whether it was carried out.
   *
   * @throws {FaultError} when the bank answers with faults. Refusals are data; {@link accepted} throws them.
   * @throws {ConnectionError} when nobody answers.
   */
  async request<Result, Variables>(
    document: Document<Result, Variables>,
    ...[variables, options]: Arguments<Variables, RequestOptions>
  ): Promise<Result> {
    const repeatable = document.kind === "query" || hasIdempotencyKey(variables);
    for (let attempt = 1; ; attempt++) {
      try {
        return (await this.#asSomebody(document, variables, options?.signal)) as Result;
      } catch (error) {
        if (!repeatable || attempt > this.#retries || !isPassing(error)) throw error;
        const wait = error instanceof FaultError ? error.retryAfterMs : undefined;
        await pause(wait ?? growing(attempt, LONGEST_PAUSE), options?.signal);
      }
    }
  }

  /**
   * Subscribes. Ends when the bank says that there is nothing more to tell, when the signal says so, or when the caller
   * stops asking (`break`). A lost connection and an expired token are made good: see `resume`. A subscription that has
   * begun waits for a bank that is away, however long.
   *
   * @throws {FaultError} when the bank refuses the subscription.
   * @throws {ConnectionError} when it cannot be reached in the first place.
   */
  async *subscribe<Result, Variables>(
    document: Document<Result, Variables>,
    ...[variables, options]: Arguments<Variables, SubscribeOptions<Result, Variables>>
  ): AsyncGenerator<Result, void, undefined> {
    const resume = options?.resume ?? behindCursor(document);
    let asked = variables;
    let hasBegun = false;
    let failures = 0;
    for (;;) {
      try {
        for await (const result of this.#stream(document, asked, options?.signal)) {
          hasBegun = true;
          failures = 0;
          yield result as Result;
          asked = resume(result as Result, asked as Variables);
        }
        return;
      } catch (error) {
        failures += 1;
        if (options?.signal?.aborted) return;
        const isAway = hasBegun && error instanceof ConnectionError;
        if (failures > this.#retries && !isAway) throw error;
        if (!isPassing(error) && !(await this.#isMadeGood(error))) throw error;
        const wait = error instanceof FaultError ? error.retryAfterMs : undefined;
        await pause(wait ?? growing(failures, LONGEST_PAUSE), options?.signal).catch(() => undefined);
      }
    }
  }

  /** An operation for a WebSocket client such as `graphql-ws`, in the form that `documents` asks for. */
  async socketOperation<Result, Variables>(
    document: Document<Result, Variables>,
    ...[variables]: Arguments<Variables, undefined>
  ): Promise<SocketOperation> {
    return { query: "", ...(await this.#operation(document, variables)) } as SocketOperation;
  }

  async #operation<V>(document: Document<unknown, V>, variables: V | undefined): Promise<Operation> {
    const rest = { operationName: document.name, variables: variables ?? {} };
    return this.#documents === "id" ? { documentId: await idOf(document), ...rest } : { query: document.text, ...rest };
  }

  /** Exchanges an access token that the bank does not take any more. */
  async #isMadeGood(error: unknown): Promise<boolean> {
    const used = this.#session.tokens?.accessToken;
    if (!used || !(error instanceof FaultError) || !error.has("UNAUTHENTICATED")) return false;
    return (await this.#session.renewed(used)) !== undefined;
  }

  /** One attempt; an access token that was refused is exchanged once. */
  async #asSomebody<V>(document: Document<unknown, V>, variables: V | undefined, signal?: AbortSignal): Promise<unknown> {
    const token = await this.#session.accessToken();
    try {
      return await this.#attempt(document, variables, token, signal);
    } catch (error) {
      // A query that was answered in part was not refused for its token.
      const refused = error instanceof FaultError && error.has("UNAUTHENTICATED") && error.data == null;
      const fresh = refused && token ? await this.#session.renewed(token) : undefined;
      if (!fresh) throw error;
      return await this.#attempt(document, variables, fresh.accessToken, signal);
    }
  }

  async #attempt<V>(document: Document<unknown, V>, variables: V | undefined, token: string | undefined, signal?: AbortSignal) {
    const limits = [AbortSignal.timeout(this.#timeout), ...(signal ? [signal] : [])];
    const within = AbortSignal.any(limits);
    const response = await this.#send(document, variables, token, JSON_ANSWER, within, signal);
    const answer = await this.#answer(response, signal);
    if (answer.errors?.length) throw new FaultError(answer.errors, answer.data, response.status);
    return answer.data;
  }

  async *#stream<V>(document: Document<unknown, V>, variables: V | undefined, signal?: AbortSignal): AsyncGenerator<unknown> {
    const token = await this.#session.accessToken();
    const response = await this.#send(document, variables, token, "text/event-stream", signal, signal);
    if (!response.headers.get("content-type")?.startsWith("text/event-stream") || !response.body) {
      const answer = await this.#answer(response, signal);
      throw new FaultError(answer.errors ?? [], answer.data, response.status);
    }
    try {
      for await (const { event, data } of serverSentEvents(response.body)) {
        if (event === "complete") return;
        if (event !== "next") continue;
        const answer = JSON.parse(data) as Answer;
        if (answer.errors?.length) throw new FaultError(answer.errors, answer.data, response.status);
        yield answer.data;
      }
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof FaultError) throw error;
      throw new ConnectionError("The stream of events broke.", response.status, { cause: error });
    }
    throw new ConnectionError("The stream of events ended before the bank said so.", response.status);
  }

  async #send<V>(
    document: Document<unknown, V>,
    variables: V | undefined,
    token: string | undefined,
    accept: string,
    within: AbortSignal | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Response> {
    const { body, headers: ofBody } = bodyOf(await this.#operation(document, variables));
    const headers: Record<string, string> = { ...this.#program, ...ofBody, accept };
    if (token) headers["authorization"] = `Bearer ${token}`;
    const init: RequestInit = { method: "POST", headers, body, credentials: "omit", redirect: "error" };
    if (within) init.signal = within;
    try {
      return await this.#fetch(this.#url, init);
    } catch (error) {
      signal?.throwIfAborted();
      throw new ConnectionError(`Nobody answers at ${this.#url}.`, undefined, { cause: error });
    }
  }

  async #answer(response: Response, signal: AbortSignal | undefined): Promise<Answer> {
    try {
      const answer: unknown = await response.json();
      if (typeof answer === "object" && answer !== null && ("data" in answer || "errors" in answer)) return answer as Answer;
    } catch (error) {
      signal?.throwIfAborted();
      throw new ConnectionError(`The answer cannot be read (status ${response.status}).`, response.status, { cause: error });
    }
    throw new ConnectionError(`The answer is not one of GraphQL (status ${response.status}).`, response.status);
  }

  /** Never repeated: a refresh token that is used twice ends the session. */
  async #exchange(refreshToken: string): Promise<Tokens> {
    const variables = { input: { refreshToken } };
    const data = await this.#attempt(RefreshTokenDocument, variables, undefined);
    const { tokenRefresh } = data as (typeof RefreshTokenDocument)["types"]["result"];
    if (tokenRefresh && tokenRefresh.userErrors.length > 0) this.#session.tokens = undefined;
    const { tokens } = accepted(tokenRefresh);
    if (!tokens) throw new ConnectionError("The bank exchanged the token and sent none.");
    return tokens;
  }
}

/** The headers by which a bank knows its clients; browsers send none with a WebSocket, where they are members of a message. */
function namesOf({ clientName, clientVersion }: ClientOptions): Record<string, string> {
  if (clientName === undefined && clientVersion !== undefined) throw new TypeError("clientVersion needs a clientName.");
  const given = { "graphql-client-name": clientName, "graphql-client-version": clientVersion };
  const names = Object.entries(given).filter((entry): entry is [string, string] => entry[1] !== undefined);
  // Found here, because it would look like a bank that does not answer.
  const wrong = names.find(([, value]) => !/^[!-~]([ -~]*[!-~])?$/.test(value));
  if (wrong) throw new TypeError(`${wrong[0]} is visible ASCII, without spaces around it: not ${JSON.stringify(wrong[1])}.`);
  return Object.fromEntries(names);
}

/** Goes on behind the last event's cursor, where the operation can. */
function behindCursor<Result, Variables>({ text }: Document<Result, Variables>): (last: Result, variables: Variables) => Variables {
  const canGoOn = /\$after\b/.test(text);
  return (last, variables) => {
    const [event] = Object.values(last as Record<string, unknown>) as ({ cursor?: unknown } | null)[];
    return canGoOn && typeof event?.cursor === "string" ? { ...variables, after: event.cursor } : variables;
  };
}

function hasIdempotencyKey(variables: unknown): boolean {
  const input = (variables as { input?: unknown } | undefined)?.input;
  return typeof input === "object" && input !== null && typeof (input as { idempotencyKey?: unknown }).idempotencyKey === "string";
}

function isPassing(error: unknown): boolean {
  if (error instanceof FaultError) return error.retryable;
  // A page that is no answer of GraphQL and says "your mistake" is there to stay.
  return error instanceof ConnectionError && !(error.status && error.status >= 400 && error.status < 500);
}
