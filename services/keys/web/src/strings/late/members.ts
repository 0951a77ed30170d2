import { members } from "../en/members";
import { addWords } from "../i18n";

addWords({ members });
