// A customer's program as it would be written with Relay: what it needs of the schema is `Node`, connections, and an `id`
// on whatever a command or an event changes.
import { graphql } from "relay-runtime";

export const entries = graphql`
  fragment Account_entries on Account
  @refetchable(queryName: "AccountEntriesQuery")
  @argumentDefinitions(count: { type: "Int", defaultValue: 20 }, cursor: { type: "String" }) {
    number
    balance {
      posted {
        amount
        currency
      }
    }
    entries(first: $count, after: $cursor) @connection(key: "Account_entries") {
      edges {
        node {
          id
        }
      }
    }
  }
`;

export const accounts = graphql`
  fragment Account_list on Query
  @refetchable(queryName: "AccountListQuery")
  @argumentDefinitions(count: { type: "Int", defaultValue: 10 }, cursor: { type: "String" }) {
    accounts(first: $count, after: $cursor) @connection(key: "Account_accounts") {
      edges {
        node {
          ...Account_entries
        }
      }
    }
  }
`;

export const page = graphql`
  query AccountPageQuery {
    me {
      displayName
    }
    ...Account_list
  }
`;

export const pay = graphql`
  mutation AccountPayMutation($input: TransferCreateInput!) {
    transferCreate(input: $input) {
      transaction {
        id
        status
      }
      userErrors {
        code
        message
        field
      }
    }
  }
`;

export const changes = graphql`
  subscription AccountChangesSubscription($account: ID!, $after: String) {
    balanceChanged(accountId: $account, after: $after) {
      sequence
      cursor
      balance {
        posted {
          amount
        }
      }
    }
  }
`;

export const outcomes = graphql`
  subscription AccountOutcomesSubscription($account: ID!, $after: String) {
    transactionUpdated(accountId: $account, after: $after) {
      cursor
      transaction {
        id
        status
      }
    }
  }
`;
