/** What a client holds while somebody is logged in: the type `Tokens` of the API. */
export interface Tokens {
  readonly accessToken: string;
  readonly refreshToken: string;
  /** When the access token expires, as RFC 3339 text. */
  readonly expiresAt: string;
}

/** How long before its end an access token is exchanged, in milliseconds. */
const EARLY = 10_000;

/**
 * Who is logged in. A refresh token can be exchanged once, and using it twice ends the session; so everybody who needs
 * a fresh access token at the same time waits for one exchange.
 */
export class Session {
  #tokens: Tokens | undefined;
  #exchange: Promise<Tokens | undefined> | undefined;

  constructor(
    tokens: Tokens | undefined,
    private readonly exchange: (refreshToken: string) => Promise<Tokens>,
    private readonly changed: (tokens: Tokens | undefined) => void,
  ) {
    this.#tokens = tokens;
  }

  get tokens(): Tokens | undefined {
    return this.#tokens;
  }

  set tokens(tokens: Tokens | undefined) {
    this.#tokens = tokens;
    this.changed(tokens);
  }

  /** An access token with some time left, if somebody is logged in. */
  async accessToken(): Promise<string | undefined> {
    const tokens = this.#tokens;
    if (!tokens) return undefined;
    if (Date.parse(tokens.expiresAt) - Date.now() > EARLY) return tokens.accessToken;
    return (await this.renewed(tokens.accessToken))?.accessToken;
  }

  /** The tokens after `expired`, which the bank does not take any more. */
  renewed(expired: string): Promise<Tokens | undefined> {
    const tokens = this.#tokens;
    if (!tokens || tokens.accessToken !== expired) return Promise.resolve(tokens);
    this.#exchange ??= this.#renew(tokens).finally(() => (this.#exchange = undefined));
    return this.#exchange;
  }

  async #renew(tokens: Tokens): Promise<Tokens | undefined> {
    const fresh = await this.exchange(tokens.refreshToken);
    // Somebody else may have logged in meanwhile.
    if (this.#tokens === tokens) this.tokens = fresh;
    return this.#tokens;
  }
}
