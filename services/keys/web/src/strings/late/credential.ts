import { credential } from "../en/credential";
import { addWords } from "../i18n";

addWords({ credential });
