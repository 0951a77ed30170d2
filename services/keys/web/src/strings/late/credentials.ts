import { credentials } from "../en/credentials";
import { addWords } from "../i18n";

addWords({ credentials });
