/** Waits, unless the signal ends the waiting: then it throws the signal's reason. */
export function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const ended = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", ended);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", ended, { once: true });
  });
}

/** The pause before attempt `attempt` (from 1) of the same thing: doubling, and different for everybody. */
export function growing(attempt: number, longest: number): number {
  return Math.min(longest, 100 * 2 ** attempt) * (0.5 + Math.random() / 2);
}
