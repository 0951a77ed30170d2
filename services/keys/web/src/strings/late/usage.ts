import { usage } from "../en/usage";
import { addWords } from "../i18n";

addWords({ usage });
