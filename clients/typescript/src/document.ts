/** An operation of the API, with the types of its answer and its variables. Generated; `src/operations` has the texts. */
export class Document<Result, Variables> {
  /** Holds nothing: it carries the types. */
  declare readonly types: { result: Result; variables: Variables };

  constructor(
    readonly kind: "query" | "mutation" | "subscription",
    readonly name: string,
    readonly text: string,
    /** What the bank knows it by; the hash of its text when absent, see {@link idOf}. */
    readonly id?: string,
  ) {}

  toString(): string {
    return this.text;
  }
}

/** The type of what an operation answers. */
export type ResultOf<D> = D extends Document<infer Result, infer _> ? Result : never;

/** The type of what an operation asks with. */
export type VariablesOf<D> = D extends Document<infer _, infer Variables> ? Variables : never;
