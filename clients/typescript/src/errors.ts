/** One entry of an answer's top-level `errors`: the request, its sender or the bank is not as it should be. */
export interface Fault {
  message: string;
  path?: readonly (string | number)[];
  locations?: readonly { line: number; column: number }[];
  extensions?: {
    /** From the closed list in the page of errors. */
    code?: string;
    /** Whether the same request may succeed later. */
    retryable?: boolean;
    retryAfterMs?: number;
    /** Names the request in the bank's logs. */
    traceId?: string;
    module?: string;
  };
}

/** One entry of a payload's `userErrors`: the rules of the bank say no. */
export interface UserError {
  readonly code: string;
  readonly message: string;
  readonly field?: readonly string[] | null;
}

/** Everything this package throws on purpose. */
export class VostroError extends Error {
  override readonly name: string = "VostroError";
}

/** Nobody answered, or not in GraphQL. What became of a mutation is not known: repeat it under its idempotency key. */
export class ConnectionError extends VostroError {
  override readonly name = "ConnectionError";

  constructor(
    message: string,
    /** The HTTP status, where there was one. */
    readonly status?: number,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The bank answered with faults. */
export class FaultError extends VostroError {
  override readonly name = "FaultError";

  constructor(
    readonly faults: readonly Fault[],
    /** What was answered all the same. */
    readonly data: unknown,
    readonly status?: number,
  ) {
    const [first] = faults;
    super(first ? `${first.extensions?.code ?? "UNKNOWN"}: ${first.message}` : "The bank named no reason.");
  }

  /** The code of the first fault. */
  get code(): string | undefined {
    return this.faults[0]?.extensions?.code;
  }

  /** Names the request in the bank's logs. */
  get traceId(): string | undefined {
    return this.faults[0]?.extensions?.traceId;
  }

  /** Whether every fault may be gone when the same is asked again. */
  get retryable(): boolean {
    return this.faults.length > 0 && this.faults.every((fault) => fault.extensions?.retryable === true);
  }

  /** How long the bank asks to wait before that. */
  get retryAfterMs(): number | undefined {
    const waits = this.faults.map((fault) => fault.extensions?.retryAfterMs ?? 0);
    return Math.max(0, ...waits) || undefined;
  }

  has(code: string): boolean {
    return this.faults.some((fault) => fault.extensions?.code === code);
  }
}

/** The bank refused a command, and did nothing. */
export class RefusedError<E extends UserError = UserError> extends VostroError {
  override readonly name = "RefusedError";

  constructor(readonly userErrors: readonly E[]) {
    super(userErrors.map(({ code, message }) => `${code}: ${message}`).join(" ") || "The command was not carried out.");
  }

  /** The code of the first refusal. */
  get code(): E["code"] | undefined {
    return this.userErrors[0]?.code;
  }
}

type Payload = { readonly userErrors: readonly UserError[] };

/**
 * The payload of a mutation that was carried out.
 *
 * @throws {RefusedError} with the reasons of one that was not.
 */
export function accepted<P extends Payload>(payload: P | null | undefined): P {
  if (!payload || payload.userErrors.length > 0) {
    throw new RefusedError<P["userErrors"][number]>(payload?.userErrors ?? []);
  }
  return payload;
}
