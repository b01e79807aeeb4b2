import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import { AccountsDocument, Client, RefusedError, RegisterDocument, accepted, type ClientOptions, type Tokens } from "@vostro/client";
import { RecordDepositDocument } from "@vostro/client/staff";

const { VOSTRO_URL, VOSTRO_OPERATOR, VOSTRO_OFFICER, VOSTRO_STAFF_PASSWORD } = process.env;
assert(
  VOSTRO_URL && VOSTRO_OPERATOR && VOSTRO_OFFICER && VOSTRO_STAFF_PASSWORD,
  "the tests need a bank: scripts/with-bank.sh clients/typescript/test.sh",
);

export const url: string = VOSTRO_URL;
const password = "a few uncommon words, pickled";

export interface Person {
  email: string;
  password: string;
  client: Client;
  tokens: Tokens;
  account: string;
}

/** A customer with an account, logged in. */
export async function customer(name: string, options: Partial<ClientOptions> = {}): Promise<Person> {
  const email = `${name}-${randomUUID()}@example.org`;
  const client = new Client({ url, ...options });
  const input = { email, password, displayName: name, idempotencyKey: randomUUID() };
  accepted((await client.request(RegisterDocument, { input })).userRegister);
  const tokens = await client.logIn({ email, password });
  return { email, password, client, tokens, account: await account(client) };
}

async function account(client: Client): Promise<string> {
  for (;;) {
    const { accounts } = await client.request(AccountsDocument, { first: 1 });
    const first = accounts?.nodes[0];
    if (first) return first.id;
    await setTimeout(50);
  }
}

async function staff(email: string, options: Partial<ClientOptions> = {}): Promise<Client> {
  const client = new Client({ url, ...options });
  await client.logIn({ email, password: VOSTRO_STAFF_PASSWORD! });
  return client;
}

export const operator = (): Promise<Client> => staff(VOSTRO_OPERATOR!);
export const officer = (options?: Partial<ClientOptions>): Promise<Client> => staff(VOSTRO_OFFICER!, options);

export const euros = (amount: string) => ({ amount, currency: "EUR" });

/** Cash over the counter, booked. */
export async function deposit(account: string, amount: string): Promise<void> {
  const client = await operator();
  const input = { accountId: account, amount: euros(amount), waitFor: "COMPLETED" as const };
  const { transaction } = await toKnownAccounts(async () => {
    const { depositRecord } = await client.request(RecordDepositDocument, { input: { idempotencyKey: randomUUID(), ...input } });
    return accepted(depositRecord);
  });
  assert.equal(transaction?.status, "COMPLETED");
}

/** Payments know an account a moment after its owner does. */
export async function toKnownAccounts<T>(pay: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await pay();
    } catch (error) {
      if (!(error instanceof RefusedError) || error.code !== "TXN_ACCOUNT_NOT_FOUND") throw error;
      await setTimeout(50);
    }
  }
}
