import { useMemo } from "react";
import { useAllPrices } from "./wholePrices";

/** useModelNames are models to choose from: those with a price. Any other can be written by hand. */
export function useModelNames(): string[] {
  const { items } = useAllPrices();
  return useMemo(() => [...new Set(items?.map(({ model }) => model))].sort(), [items]);
}
