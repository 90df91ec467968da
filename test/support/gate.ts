/** A promise that a test opens, to hold something at a known point. */
export class Gate<Value = void> {
  readonly opened: Promise<Value>
  readonly open: (value: Value) => void
  readonly fail: (error: Error) => void

  constructor() {
    let open: (value: Value) => void = () => {}
    let fail: (error: Error) => void = () => {}
    this.opened = new Promise((resolve, reject) => {
      open = resolve
      fail = reject
    })
    this.open = open
    this.fail = fail
  }
}

/** Lets everything run that waits for nothing but microtasks. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
