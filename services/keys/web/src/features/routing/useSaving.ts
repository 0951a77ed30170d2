import { useState } from "react";
import { problemOf } from "@/shared/errors/problem";
import { type Action, useAction } from "@/shared/useAction";

/** Read is what is edited, with the etag that was read with it. */
export type Read<T> = { value: T; etag: string };

type Options<T> = {
  read: Read<T>;
  same: (a: T, b: T) => boolean;
  /** Sends it; gives what the server has then. */
  send: (value: T, etag: string) => Promise<Read<T>>;
  /** Reads what somebody else has saved. */
  again: () => Promise<Read<T>>;
  onSaved: () => Promise<unknown>;
};

/** Saving is a form over one object that several people may change. */
export type Saving<T> = {
  value: T;
  set: (part: Partial<T>) => void;
  changed: boolean;
  /** What somebody else has saved meanwhile. */
  theirs: Read<T> | undefined;
  save: Action<[etag?: string], void>;
  take: () => void;
};

/** useSaving keeps what is being edited; a reading in the background does not move it. */
export function useSaving<T extends object>(options: Options<T>): Saving<T> {
  const [base, setBase] = useState(options.read);
  const [value, setValue] = useState(base.value);
  const [theirs, setTheirs] = useState<Read<T>>();
  const changed = !options.same(value, base.value);
  // What was not touched follows what others save, as it is read again.
  const [seen, setSeen] = useState(options.read.etag);
  if (options.read.etag !== seen) {
    setSeen(options.read.etag);
    if (!changed && !theirs) {
      setBase(options.read);
      setValue(options.read.value);
    }
  }
  const save = useAction(async (etag?: string) => {
    try {
      const saved = await options.send(value, etag ?? base.etag);
      setTheirs(undefined);
      setBase(saved);
      setValue(saved.value);
      await options.onSaved();
    } catch (error) {
      if (problemOf(error).reason === "ETAG_MISMATCH") setTheirs(await options.again());
      throw error;
    }
  });
  return {
    value,
    set: (part) => setValue((before) => ({ ...before, ...part })),
    changed,
    theirs,
    save,
    take() {
      if (!theirs) return;
      save.clear();
      setBase(theirs);
      setValue(theirs.value);
      setTheirs(undefined);
    },
  };
}
