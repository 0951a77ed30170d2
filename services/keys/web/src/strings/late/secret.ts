import { secret } from "../en/secret";
import { addWords } from "../i18n";

addWords({ secret });
