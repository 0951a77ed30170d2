import { firstKey } from "../en/firstkey";
import { addWords } from "../i18n";

addWords({ firstKey });
