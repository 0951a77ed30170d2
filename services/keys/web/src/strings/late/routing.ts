import { routing } from "../en/routing";
import { addWords } from "../i18n";

addWords({ routing });
