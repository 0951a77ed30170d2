// Without letters and digits that look alike.
const alphabet = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/** newPassword makes a password of 24 characters in groups of six, which is about 139 bits. */
export function newPassword(): string {
  const characters: string[] = [];
  while (characters.length < 24) {
    for (const byte of crypto.getRandomValues(new Uint8Array(32))) {
      // 224 is the largest multiple of 56 in a byte: above it some would be likelier than others.
      if (byte < 224 && characters.length < 24) characters.push(alphabet[byte % alphabet.length] as string);
    }
  }
  return (characters.join("").match(/.{6}/g) ?? []).join("-");
}
