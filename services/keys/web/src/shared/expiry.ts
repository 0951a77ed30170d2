/** expiryAfter is the end of the day that is a number of days away, in the reader's zone. */
export function expiryAfter(days: number, now: number): Date {
  const end = new Date(now);
  end.setDate(end.getDate() + days);
  end.setHours(23, 59, 59, 0);
  return end;
}

/** expiryOn is the end of a day written as 2026-11-22; undefined if it is no day, or is over. */
export function expiryOn(day: string, now: number): Date | undefined {
  const match = /^(\d{4})-(\d{2})-(\d{2})$/.exec(day);
  if (!match) return undefined;
  const [year, month, date] = match.slice(1).map(Number) as [number, number, number];
  const end = new Date(year, month - 1, date, 23, 59, 59);
  return end.getMonth() === month - 1 && end.getTime() > now ? end : undefined;
}

/** expiryDay writes the day of an expiry as 2026-11-22, in the reader's zone. */
export function expiryDay(at: number): string {
  const day = new Date(at);
  const two = (part: number) => String(part).padStart(2, "0");
  return `${day.getFullYear()}-${two(day.getMonth() + 1)}-${two(day.getDate())}`;
}
