import { setTimeout as delay } from 'node:timers/promises';
/** Milliseconds between two looks at a condition. */
const pollMs = 20;
/** Runs tests one after another, as each leaves the stack to the next, and counts. */
export class Runner {
    #passed = 0;
    #failed = 0;
    constructor(signal) {
        this.signal = signal;
    }
    get failed() {
        return this.#failed > 0;
    }
    /** @returns whether it passed */
    async test(title, run) {
        if (this.signal.aborted)
            return false;
        const startedAt = performance.now();
        const number = this.#passed + this.#failed + 1;
        let failure;
        try {
            await run();
            this.signal.throwIfAborted();
            this.#passed++;
        }
        catch (error) {
            failure = error;
            this.#failed++;
        }
        const took = ((performance.now() - startedAt) / 1_000).toFixed(1);
        console.log(`${failure ? 'not ok' : 'ok'} ${number} - ${title} (${took} s)`);
        if (failure)
            note(failure instanceof Error ? failure.message : String(failure));
        return !failure;
    }
    /** Prints the result. @returns whether there was one, and all passed */
    finish() {
        console.log(`${this.#passed} passed, ${this.#failed} failed`);
        return !this.failed && this.#passed > 0;
    }
}
/** Prints what a reader of the results may want to know: a measurement, or the details of a failure. */
export function note(text) {
    console.log(text.replace(/^/gm, '    # '));
}
/**
 * Waits for a condition; an exception counts as not yet.
 *
 * @returns after how many ms it held
 * @throws if it does not hold in time
 */
export async function until(what, withinMs, condition) {
    const startedAt = performance.now();
    let lastError;
    for (;;) {
        try {
            const holds = await condition();
            const elapsed = performance.now() - startedAt;
            if (holds && elapsed <= withinMs)
                return Math.round(elapsed);
            lastError = undefined;
        }
        catch (error) {
            lastError = error;
        }
        if (performance.now() - startedAt > withinMs) {
            throw new Error(`not within ${withinMs} ms: ${what}${lastError ? ` (${String(lastError)})` : ''}`);
        }
        await delay(pollMs);
    }
}
//# sourceMappingURL=runner.js.map